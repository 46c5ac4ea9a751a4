"""CUB-200-2011 (Wah et al., 2011) in its official layout, or any subset of its classes in that layout."""

import logging
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from configs.errors import RunError, reason
from configs.files import fingerprint
from configs.script import warn_once
from dataset_classes.base import ImageDataset, require
from dataset_classes.contents import contents
from dataset_classes.image_files import edges, image_size
from dataset_classes.keypoints import Keypoints
from dataset_classes.transforms import FixedTransform

log = logging.getLogger(__name__)

SOURCE = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
# Files that only the evaluation needs.
IMAGE_ATTRIBUTES = "attributes/image_attribute_labels.txt"
BOXES, PARTS, PART_LOCATIONS = "bounding_boxes.txt", "parts/parts.txt", "parts/part_locs.txt"


class CUB2011(ImageDataset):
    """One split of CUB; with `crop_gt` the images are cropped to the bird.

    The crops come from `PPCUB200/CUB_200_2011/{train,test}_cropped` if that folder exists; otherwise images are cropped
    while loading.

    Raises:
        RunError: if the dataset is missing or broken; names the folder, what was expected and where to get it.
    """

    name = "CUB2011"
    mean = (0.4853, 0.4964, 0.4295)
    std = (0.2300, 0.2258, 0.2625)
    folder = Path("CUB200", "CUB_200_2011")
    cropped_folder = Path("PPCUB200", "CUB_200_2011")

    def __init__(self, data_root, split: str, *, img_size: int = 224, crop_gt: bool = True, index=None):
        self.square = crop_gt
        root = Path(data_root)
        index = index or self.read_index(root)
        chosen = np.flatnonzero(index.is_train == (split == "train"))
        cropped = root / self.cropped_folder / f"{split}_cropped"
        if crop_gt and cropped.is_dir():
            images, boxes = cropped, None
        else:
            images = self.image_folder(root, split)
            boxes = index.boxes[chosen] if crop_gt else None

        kept = np.unique(index.class_ids)
        attributes = read_class_attributes(index.root, kept, list(index.class_names))
        super().__init__(
            [images / index.images[i] for i in chosen],
            np.searchsorted(kept, index.class_ids[chosen]),
            [readable(index.class_names[class_id]) for class_id in kept],
            root=root,
            boxes=boxes,
            attributes=attributes,
        )
        self._index, self._cropped = index, crop_gt
        self._row_of = dict(zip(self.paths, chosen.tolist(), strict=True))  # in the index; also valid for subsets

    @classmethod
    def both(cls, data_root, *, known=None, **options):
        """Both splits; the text files are read once."""
        index = cls.read_index(Path(data_root))
        return cls(data_root, "train", index=index, **options), cls(data_root, "test", index=index, **options)

    @property
    def _rows(self) -> list[int]:
        return [self._row_of[path] for path in self.paths]

    def image_attributes(self) -> np.ndarray | None:
        """As in `ImageDataset`; None without `IMAGE_ATTRIBUTES`, a RunError if it lacks one of these images."""
        table = self._index.image_attributes
        if table is None:
            return None
        ids = np.array([int(self._index.image_ids[row]) for row in self._rows])
        position = np.zeros(max(ids.max(), table[:, 0].max()) + 1, dtype=np.int32)
        position[ids] = np.arange(1, len(ids) + 1)
        images = position[table[:, 0]]
        missing = np.setdiff1d(position[ids], images)
        if len(missing):
            file = self._index.root / IMAGE_ATTRIBUTES
            raise RunError(f"{file} has no line for image {ids[missing[0] - 1]} of images.txt.")
        return np.column_stack([images, table[:, 1:]])[images > 0]

    def keypoints(self) -> Keypoints | None:
        """The points of `parts/part_locs.txt` under the test transform; None, with a line in the log, without it."""
        needed = [self._index.root / file for file in (PART_LOCATIONS, *([BOXES] if self._cropped else []))]
        if missing := [path for path in needed if not path.exists()]:
            log.info("There is no %s: it is not known where parts are.", missing[0])
            return None
        names, *places = self._index.parts
        pixels, visible = (values[self._rows] for values in places)
        assert isinstance(self.transform, FixedTransform)
        locations = np.empty_like(pixels)
        for i, (left, top, right, bottom) in enumerate(self._kept_edges()):
            size = (right - left, bottom - top)
            locations[i] = self.transform.places((pixels[i] - (left, top)) / size, size)
        visible &= ((locations >= 0) & (locations <= 1)).all(axis=2)
        return Keypoints(names, locations, visible)

    def check_annotations(self) -> None:
        """As in `ImageDataset`."""
        self.image_attributes()
        if (self._index.root / PART_LOCATIONS).exists():
            _ = self._index.parts

    def _kept_edges(self) -> list[tuple[int, int, int, int]]:
        """Edges of every image's crop before it is resized: left, top, right and bottom, pixels."""
        if not self._cropped:
            return [(0, 0, *image_size(path)) for path in self.paths]
        if self.boxes is not None:
            boxes_of_files = zip(self.boxes, self.paths, strict=True)
            return [edges(box, image_size(path)) for box, path in boxes_of_files]
        # Files that are cropped already: the uncropped image's edges are not known.
        return [edges(box, (sys.maxsize, sys.maxsize)) for box in self._index.boxes[self._rows]]

    def attributes_fingerprint(self) -> str:
        """As in `ImageDataset`, also covering the files of image attributes, parts and boxes."""
        files = [str(self._index.root / file) for file in (IMAGE_ATTRIBUTES, PART_LOCATIONS, PARTS, BOXES)]
        digests = [content.digest for content in contents(files, self.root)]
        return fingerprint({"classes": super().attributes_fingerprint(), "files": digests})

    @classmethod
    def read_index(cls, root: Path) -> "Index":
        """The images, with their classes and splits."""
        require(root / cls.folder, cls.name, root, SOURCE)
        return read_index(root / cls.folder, cls.name)

    def image_folder(self, root: Path, split: str) -> Path:
        """The folder that the paths in the index are relative to."""
        return root / self.folder / "images"


@dataclass(frozen=True)
class Index:
    """The text files in `root`: one entry per image in the order of `images.txt`, and the classes by id.

    Files that not every run needs are read on first access; a RunError names one that is missing or broken.
    """

    dataset: str
    root: Path
    image_ids: list[str]
    images: list[str]  # paths below the image folder
    class_ids: np.ndarray
    is_train: np.ndarray
    class_names: dict[int, str]

    @cached_property
    def boxes(self) -> np.ndarray:
        """Bounding boxes (x, y, width, height) in pixels, `[N, 4]`."""
        if not (self.root / BOXES).exists():
            raise RunError(
                f"No {BOXES} in {self.root} to crop by. It comes with CUB-200-2011, {SOURCE}, "
                f"which belongs in {CUB2011.folder} below the data root; or use whole images with --cropGT False."
            )
        return read_column(self.root, "bounding_boxes", 4, self.image_ids, CUB2011.name)

    @cached_property
    def image_attributes(self) -> np.ndarray | None:
        """Image id, attribute (from 1), presence (0/1) and certainty, `[M, 4]` integers; None without the file."""
        path = self.root / IMAGE_ATTRIBUTES
        if not path.exists():
            return None
        # Some lines of the official file have a column too many.
        table = read_table(path, usecols=range(4)).astype(np.int32)
        if table[:, :2].min() < 1 or not np.isin(table[:, 2], (0, 1)).all():
            raise RunError(f"{path} holds a line that is not image, attribute (from 1), 0 or 1, and certainty.")
        return table

    @cached_property
    def parts(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Names of the parts, their positions (x, y) in pixels, `[N, P, 2]`, and which are visible, `[N, P]` bool."""
        named = read_rows(self.root / "parts", "parts", 1, str, self.dataset)
        row_of = {int(image): row for row, image in enumerate(self.image_ids)}
        column_of = {int(part): column for column, part in enumerate(named)}
        pixels = np.zeros((len(row_of), len(column_of), 2))
        visible = np.zeros(pixels.shape[:2], dtype=bool)
        for image, part, *place, shown in read_table(self.root / PART_LOCATIONS, usecols=range(5)):
            if image in row_of and part in column_of:
                at = row_of[image], column_of[part]
                pixels[at], visible[at] = place, shown == 1
        return tuple(name for (name,) in named.values()), pixels, visible


def read_index(root: Path, dataset: str) -> Index:
    """The text files that every run needs; RunError if one is missing or broken, or they contradict each other."""
    images = read_rows(root, "images", 1, str, dataset)
    labels = read_rows(root, "image_class_labels", 1, whole, dataset)
    if len(labels) > len(images):
        warn_once(
            log,
            f"{root / 'images.txt'} names {len(images)} images, image_class_labels.txt labels {len(labels)}: the "
            "others are left out.",
        )
    class_ids = of_images(labels, root / "image_class_labels.txt", images)[:, 0]
    is_train = read_column(root, "train_test_split", 1, images, dataset)[:, 0]
    if not np.isin(is_train, (0, 1)).all():
        raise RunError(f"{root / 'train_test_split.txt'} says something else than 0 or 1 of an image.")
    rows = read_rows(root, "classes", 1, str, dataset)
    class_names = {int(key): name for key, (name,) in rows.items()}
    unknown = set(class_ids.tolist()) - set(class_names)
    if unknown:
        raise RunError(f"{root / 'classes.txt'} has no name for class {min(unknown)} of image_class_labels.txt.")
    names = [name for (name,) in images.values()]
    return Index(dataset, root, list(images), names, class_ids, is_train == 1, class_names)


def read_column(root: Path, name: str, width: int, image_ids, dataset: str) -> np.ndarray:
    """The `width` numbers of a text file for each of `image_ids`, `[N, width]`; RunError if it lacks an image."""
    return of_images(read_rows(root, name, width, finite, dataset), root / f"{name}.txt", image_ids)


def of_images(rows: dict[str, list], path: Path, image_ids) -> np.ndarray:
    """The values that the rows of a file give for each of `image_ids`, `[N, width]`; RunError if one has none."""
    missing = [image_id for image_id in image_ids if image_id not in rows]
    if missing:
        raise RunError(f"{path} has no line for image {missing[0]} of images.txt.")
    return np.array([rows[image_id] for image_id in image_ids])


def read_rows(root: Path, name: str, width: int, kind, dataset: str) -> dict[str, list]:
    """`{id: [values]}` of a text file of such lines; RunError, which names the line, if it is missing or broken."""
    path = require(root / f"{name}.txt", dataset, root, SOURCE)
    rows = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({reason(error)}).") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, *values = line.split(maxsplit=width)
        if key in rows:
            raise RunError(f"{path}, line {number}: {key} has a line before.")
        try:
            rows[key] = [kind(value.strip()) for value in values]
        except ValueError:
            values = []
        if len(values) != width or not key.isdecimal():
            raise RunError(f"{path}, line {number}: expected an id and {width} value(s), found '{line}'.")
    if not rows:
        raise RunError(f"{path} is empty.")
    return rows


def read_table(path: Path, usecols: Sequence[int] | None = None) -> np.ndarray:
    """The numbers of a text file, or of some columns, `[lines, columns]`; RunError if it holds none, or others."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about an empty file
            table = np.loadtxt(path, usecols=usecols, ndmin=2)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is not a table of numbers ({reason(error)}).") from None
    if not table.size or not np.isfinite(table).all():
        raise RunError(f"{path} is empty, or holds values that are not finite numbers.")
    return table


def finite(text: str) -> float:
    """The number that `text` spells; ValueError for words, infinities and "nan"."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


def whole(text: str) -> int:
    """The whole number that `text` spells, as 3 or 3.0; ValueError for others."""
    number = finite(text)
    if not number.is_integer():
        raise ValueError(f"{text} is not whole")
    return int(number)


def read_class_attributes(root: Path, kept, class_ids: list[int]) -> np.ndarray | None:
    """Share of people who saw each attribute on each class, `[C, 312]` in percent; None without the file.

    Rows follow the lines of `classes.txt`; if the file has all 200 classes and `classes.txt` fewer, the class ids.

    Raises:
        RunError: if the file is no table of numbers, or has too few rows.
    """
    path = root / "attributes" / "class_attribute_labels_continuous.txt"
    if not path.exists():
        return None
    table = read_table(path)
    rows = [class_ids.index(i) if len(table) == len(class_ids) else i - 1 for i in kept]
    if max(rows) >= len(table):
        raise RunError(f"{path} has {len(table)} row(s), but {len(class_ids)} classes need one each.")
    return table[rows]


def readable(official: str) -> str:
    """ "001.Black_footed_Albatross" -> "Black-footed Albatross": lower case continues a hyphenated word."""
    words = official.split(".", 1)[-1].split("_")
    return "".join(word if i == 0 else ("-" if word[:1].islower() else " ") + word for i, word in enumerate(words))
