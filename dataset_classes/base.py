"""The base of all datasets: images, labels, readable class names, channel statistics, class similarity."""

import copy
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from configs import processes
from configs.errors import RunError
from configs.files import fingerprint
from configs.hardware import machine_memory
from dataset_classes import transforms
from dataset_classes.contents import contents, in_threads
from dataset_classes.image_files import crop, is_missing, read_image
from dataset_classes.keypoints import Keypoints
from dataset_classes.pixels import PixelScale
from dataset_classes.transforms import FixedTransform, ImageTransform

# For resized images: all of CUB2011 or StanfordCars at 224 pixels, but at most a quarter of a small machine's memory.
CACHE_BYTES = min(2**32, machine_memory() // 4)
NEEDS_NO_DOWNLOAD = "or try --dataset SyntheticBirds, which needs no download"


class ImageDataset(Dataset):
    """One split of a labelled image dataset; item i is `(transform(image), label)`.

    Subclasses find their files; everything after that is here.

    Attributes:
        name: spelling of the dataset as on the command line.
        mean, std: channel statistics, pixels in [0, 1].
        classes: display names; the index is the label.
        labels: `[N]` int64.
        transform: from PIL image to tensor; None leaves the image as it is.
        square: whether images are resized to a square, or by their short side and then cropped.
        balanced: whether training shows all classes equally often.
        upright: whether to apply a camera's orientation tag; official boxes belong to the file as stored.
        scale: which values are black and white in images that do not have 8 bits.
        root: folder of the dataset.
    """

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    square = False
    balanced = False
    upright = False
    # Attributes that have a row for every image.
    per_image: tuple[str, ...] = ("paths", "labels", "boxes")
    scale = PixelScale()

    def __init__(self, paths, labels, classes, *, root, boxes=None, attributes=None):
        """Hold `paths` and `labels` `[N]`, `classes` `[C]`, pixel `boxes` (x, y, width, height) `[N, 4]`."""
        self.root = Path(root)
        self.paths = [str(path) for path in paths]
        self.labels = np.asarray(labels, dtype=np.int64)
        self.classes = list(classes)
        self.boxes = boxes
        self.transform: Callable | None = None
        self._attributes = attributes
        self._resized = ImageCache(CACHE_BYTES, len(self.labels))
        self._digests: dict[str, str] = {}  # by path; shared by all views of these images

    @classmethod
    def both(cls, data_root, *, known=None, **options) -> tuple["ImageDataset", "ImageDataset"]:
        """The training and the test split; `known`: `ImageList` of an earlier run, where they are split here."""
        train, test = (cls(data_root, split, **options) for split in ("train", "test"))
        return train, test

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        label = int(self.labels[index])
        if self.transform is None:
            return self.image(index), label
        transform: Any = self.transform
        resize = getattr(transform, "resize", None)
        if resize is None:
            return transform(self.image(index)), label
        return transform.finish(self._resized_image(index, resize)), label

    def require_readable(self) -> None:
        """Read every image, divided among the processes; a RunError names the first that cannot be read."""

        def read(index: int) -> None:
            self.image(index)  # not returned: all together may be larger than memory

        own = range(processes.rank(), len(self), processes.count())
        for _ in in_threads(read, own, desc="Reading test images", unit="image"):
            pass

    def preload(self, threads: int) -> None:
        """Resize all images, if there is room to keep them, so that loading processes started later share them."""
        resize = getattr(self.transform, "resize", None)
        if resize is not None and self._resized.has_room_for(resize.size, resize.size):
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda i: self._resized_image(i, resize), range(len(self))))

    def _resized_image(self, index: int, resize: Callable) -> Image.Image:
        return self._resized.get(int(index), resize, lambda: self.image(index))

    def image(self, index: int) -> Image.Image:
        """Image `index` in RGB, cropped to its box if there is one; RunError, which names it, if that fails."""
        image = self.full_image(index)
        return image if self.boxes is None else crop(image, self.boxes[index], self.paths[index])

    def full_image(self, index: int) -> Image.Image:
        """Image `index` in RGB, not cropped."""
        return read_image(self.paths[index], upright=self.upright, scale=self.scale)

    def missing_images(self) -> list[str]:
        """Paths in the annotations that do not exist."""
        return [path for path in self.paths if is_missing(path)]

    def digests(self) -> list[str]:
        """A digest of every image's content, `[N]`, see `dataset_classes.contents`; RunError if one cannot be read."""
        if any(path not in self._digests for path in self.paths):
            self._digests.update(zip(self.paths, self._read_digests(), strict=True))
        return [self._digests[path] for path in self.paths]

    def _read_digests(self) -> list[str]:
        found = contents(self.paths, self.root)
        for path, content in zip(self.paths, found, strict=True):
            if content.digest is None:
                raise RunError(f"The image {path} cannot be read ({content.error}).")
        return [content.digest for content in found]

    def fingerprint(self) -> str:
        """A short digest of the images' contents, labels and classes; a dataset that is moved keeps it."""
        names = ["/".join(Path(path).parts[-2:]) for path in self.paths]
        return fingerprint(
            {
                "images": names,
                "contents": self.digests(),
                "labels": self.labels.tolist(),
                "classes": self.classes,
                "boxes": None if self.boxes is None else np.asarray(self.boxes).tolist(),
                "scale": self.scale.ranges,
            }
        )

    def class_attributes(self) -> np.ndarray | None:
        """How strongly each class shows each attribute, `[C, A]`, or None if the dataset does not tell."""
        return self._attributes

    def image_attributes(self) -> np.ndarray | None:
        """Attributes that annotators saw in each image, or None if the dataset does not tell.

        Returns:
            `[M, 4]` integers: image (its index here, from 1), attribute (from 1), whether it is present (0/1), and how
            certain that is (1..4).
        """
        return None

    def keypoints(self) -> Keypoints | None:
        """Where the parts are in every image under the test transform, or None if the dataset does not tell."""
        return None

    def check_annotations(self) -> None:
        """Read the annotations that only the evaluation needs, so that a RunError about them comes before training."""

    def attributes_fingerprint(self) -> str:
        """A short digest of the attributes; results that use them are computed again when it changes."""
        attributes = self.class_attributes()
        return fingerprint({"attributes": None if attributes is None else attributes.tolist()})

    def class_similarity(self) -> np.ndarray | None:
        """Cosine similarity of the classes' attributes, `[C, C]`, diagonal 0; None without attributes."""
        attributes = self.class_attributes()
        return None if attributes is None else cosine_similarity(attributes)

    def with_transform(self, transform: Callable | None) -> "ImageDataset":
        """The same images, sharing the cache of resized ones, under another transform."""
        twin = copy.copy(self)
        twin.transform = transform
        return twin

    def subset(self, rows: np.ndarray) -> "ImageDataset":
        """The dataset of some of the images, by their indices, under the same transform."""
        part = copy.copy(self)
        for name in self.per_image:
            values = getattr(self, name)
            if values is not None:
                taken = [values[i] for i in rows] if isinstance(values, list) else values[rows]
                setattr(part, name, taken)
        part._resized = ImageCache(CACHE_BYTES, len(rows))
        return part

    def train_transform(self, img_size: int) -> ImageTransform:
        """The augmentation this dataset is trained with."""
        return transforms.fine_grained_train(img_size, self.mean, self.std, square=self.square)

    def test_transform(self, img_size: int) -> FixedTransform:
        """The transform this dataset is evaluated with."""
        return transforms.fine_grained_test(img_size, self.mean, self.std, square=self.square)


class ImageCache:
    """Resized images in memory, at most `max_bytes` of them.

    Every image has an equal share of the memory and is kept if it fits into it: either all images of a size are kept,
    or none. Worker processes start with what is cached by then, see `ImageDataset.preload`.
    """

    def __init__(self, max_bytes: int, n_images: int):
        self._share = max_bytes // max(n_images, 1)
        self._kept: dict[int, tuple[Callable, Image.Image]] = {}

    def get(self, index: int, resize: Callable, load: Callable[[], Image.Image]) -> Image.Image:
        """`resize(load())`, remembered for this index until another `resize` is asked for."""
        known_resize, image = self._kept.get(index, (None, None))
        if known_resize == resize:
            return image
        image = resize(load())
        if self.has_room_for(image.width, image.height):
            self._kept[index] = (resize, image)
        return image

    def has_room_for(self, width: int, height: int) -> bool:
        """Whether images of this size (pixels) are kept."""
        return 4 * width * height <= self._share  # Pillow holds RGB in 4 bytes


def relative_name(path: str, root: Path) -> str:
    """The path of an image below the data root, with "/"."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def cosine_similarity(attributes: np.ndarray) -> np.ndarray:
    """Cosine similarity of the rows of `attributes` `[C, A]`: `[C, C]`, 0 on the diagonal and for rows of zeros."""
    unit = attributes / np.maximum(np.linalg.norm(attributes, axis=1, keepdims=True), 1e-8)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, 0)
    return similarity


def require(path: Path, dataset: str, root: Path, source: str) -> Path:
    """`path`, which must exist; if not, a RunError says where it was expected and where it is, or where to get it."""
    if not path.exists():
        expected = path.relative_to(root)
        advice = f"Get it from {source} and unpack it there, set --data_root, {NEEDS_NO_DOWNLOAD}."
        above = next((folder for folder in root.parents if (folder / expected).exists()), None)
        if above and len(expected.parts) > 1:  # a single name may be anything
            advice = f"It is under {above}: give --data_root {above}."
        raise RunError(f"No {dataset} under {root} (looked for {expected}). {advice}")
    return path
