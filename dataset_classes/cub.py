"""CUB-200-2011 (Wah et al., 2011) in its official layout, or any subset of its classes in that layout."""

import logging
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.errors import RunError
from configs.run_folder import fingerprint
from configs.script import warn_once
from dataset_classes.base import ImageDataset, edges, image_size, require
from dataset_classes.contents import contents
from dataset_classes.keypoints import Keypoints
from dataset_classes.transforms import FixedTransform

log = logging.getLogger(__name__)

SOURCE = "https://www.vision.caltech.edu/datasets/cub_200_2011/"


class CUB2011(ImageDataset):
    """One split of CUB; with `crop_gt` the images are cropped to the bird.

    The crops come from `PPCUB200/CUB_200_2011/{train,test}_cropped` where that folder exists, and are otherwise cut
    while loading.

    Raises:
        RunError: if the dataset is missing or broken; names the folder, what was expected and where to get it.
    """

    name = "CUB2011"
    mean = (0.4853, 0.4964, 0.4295)
    std = (0.2300, 0.2258, 0.2625)
    folder = Path("CUB200", "CUB_200_2011")
    cropped_folder = Path("PPCUB200", "CUB_200_2011")

    def __init__(self, data_root, split: str, *, img_size: int = 224, crop_gt: bool = True):
        self.square = crop_gt
        root = Path(data_root)
        index = self.read_index(root)
        chosen = np.flatnonzero(index.is_train == (split == "train"))
        cropped = root / self.cropped_folder / f"{split}_cropped"
        if crop_gt and cropped.is_dir():
            images, boxes = cropped, None
        else:
            images = self.image_folder(root, split)
            boxes = read_boxes(index)[chosen] if crop_gt else None

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
        self._image_ids = {path: int(index.image_ids[i]) for path, i in zip(self.paths, chosen, strict=True)}
        self._image_attribute_file = index.root / "attributes" / "image_attribute_labels.txt"
        self._part_file = index.root / "parts" / "part_locs.txt"
        self._box_file = index.root / "bounding_boxes.txt"
        self._cropped = crop_gt

    def image_attributes(self) -> np.ndarray | None:
        """The rows of `attributes/image_attribute_labels.txt` about these images; None without the file.

        Raises:
            RunError: if the file is no table of numbers, or lacks an image.
        """
        path = self._image_attribute_file
        if not path.exists():
            return None
        # Some lines of the official file have a column too many.
        table = read_table(path, usecols=(0, 1, 2, 3)).astype(np.int64)
        if table[:, :2].min() < 1 or not np.isin(table[:, 2], (0, 1)).all():
            raise RunError(f"{path} holds a line that is not image, attribute (from 1), 0 or 1, and certainty.")
        ids = np.array([self._image_ids[image] for image in self.paths])
        position = np.zeros(max(ids.max(), table[:, 0].max()) + 1, dtype=np.int64)
        position[ids] = np.arange(1, len(ids) + 1)
        table[:, 0] = position[table[:, 0]]
        table = table[table[:, 0] > 0]
        missing = np.setdiff1d(position[ids], table[:, 0])
        if len(missing):
            raise RunError(f"{path} has no line for image {ids[missing[0] - 1]} of images.txt.")
        return table

    def keypoints(self) -> Keypoints | None:
        """The points of `parts/part_locs.txt` under the test transform; None, and a word in the log, without the file.

        Raises:
            RunError: if a file is broken, or an image cannot be read.
        """
        needed = [self._part_file, *([self._box_file] if self._cropped else [])]
        if missing := [path for path in needed if not path.exists()]:
            log.info("There is no %s: it is not known where parts are.", missing[0])
            return None
        ids = [self._image_ids[path] for path in self.paths]
        names, pixels, visible = self._parts(ids)
        assert isinstance(self.transform, FixedTransform)
        locations = np.empty_like(pixels)
        for i, (left, top, right, bottom) in enumerate(self._kept_edges(ids)):
            size = (right - left, bottom - top)
            locations[i] = self.transform.places((pixels[i] - (left, top)) / size, size)
        visible &= ((locations >= 0) & (locations <= 1)).all(axis=2)
        return Keypoints(names, locations, visible)

    def check_annotations(self) -> None:
        """As in `ImageDataset`."""
        self.image_attributes()
        if self._part_file.exists():
            self._parts([])

    def _parts(self, ids: list[int]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Names of the parts, and what `read_part_locations` returns for some images."""
        named = read_rows(self._part_file.parent, "parts", 1, str, self.name)
        return tuple(name for (name,) in named.values()), *read_part_locations(self._part_file, ids, [*map(int, named)])

    def _kept_edges(self, ids: list[int]) -> list[tuple[int, int, int, int]]:
        """What is left of every image before it is resized: left, top, right and bottom edge, pixels."""
        if not self._cropped:
            return [(0, 0, *image_size(path)) for path in self.paths]
        if self.boxes is not None:
            boxes_of_files = zip(self.boxes, self.paths, strict=True)
            return [edges(box, image_size(path)) for box, path in boxes_of_files]
        # Files that are cropped already: the uncropped image's edges are not known.
        keys = list(map(str, ids))
        boxes = read_column(self._box_file.parent, "bounding_boxes", 4, keys, self.name)
        return [edges(box, (sys.maxsize, sys.maxsize)) for box in boxes]

    def attributes_fingerprint(self) -> str:
        """As in `ImageDataset`, and of all that is in the files of image attributes, parts and boxes."""
        names = self._part_file.with_name("parts.txt")
        files = [str(path) for path in (self._image_attribute_file, self._part_file, names, self._box_file)]
        digests = [content.digest for content in contents(files, self.root)]
        return fingerprint({"classes": super().attributes_fingerprint(), "files": digests})

    def read_index(self, root: Path) -> "Index":
        """Which images there are, and of which class and split."""
        require(root / self.folder, self.name, root, SOURCE)
        return read_index(root / self.folder, self.name)

    def image_folder(self, root: Path, split: str) -> Path:
        """The folder that the image names of the index belong to."""
        return root / self.folder / "images"


@dataclass(frozen=True)
class Index:
    """What the text files in `root` say: one entry per image in the order of `images.txt`, and the classes by id."""

    root: Path
    image_ids: list[str]
    images: list[str]  # paths below the image folder
    class_ids: np.ndarray
    is_train: np.ndarray
    class_names: dict[int, str]


def read_index(root: Path, dataset: str) -> Index:
    """What `images`, `image_class_labels`, `train_test_split` and `classes.txt` say.

    Raises:
        RunError: if one is missing or broken, or they do not fit together; names the file.
    """
    images = read_rows(root, "images", 1, str, dataset)
    labels = read_rows(root, "image_class_labels", 1, finite, dataset)
    if len(labels) > len(images):
        warn_once(
            log,
            "%s names %d images, image_class_labels.txt labels %d: the others are left out.",
            *(root / "images.txt", len(images), len(labels)),
        )
    class_ids = of_images(labels, root / "image_class_labels.txt", images)[:, 0].astype(np.int64)
    is_train = read_column(root, "train_test_split", 1, images, dataset)[:, 0]
    if not np.isin(is_train, (0, 1)).all():
        raise RunError(f"{root / 'train_test_split.txt'} says something else than 0 or 1 of an image.")
    rows = read_rows(root, "classes", 1, str, dataset)
    class_names = {int(key): name for key, (name,) in rows.items()}
    unknown = set(class_ids.tolist()) - set(class_names)
    if unknown:
        raise RunError(f"{root / 'classes.txt'} has no name for class {min(unknown)} of image_class_labels.txt.")
    names = [name for (name,) in images.values()]
    return Index(root, list(images), names, class_ids, is_train == 1, class_names)


def read_part_locations(path: Path, image_ids: list[int], part_ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (x, y) of the parts of some images, `[N, P, 2]`, and which of them can be seen, `[N, P]` bool.

    Raises:
        RunError: if the file's lines are not image, part, x, y and 0 or 1.
    """
    image, part, x, y, seen = read_table(path, usecols=range(5)).T
    row_of, column_of = ({k: i for i, k in enumerate(ids)} for ids in (image_ids, part_ids))
    pixels = np.zeros((len(image_ids), len(part_ids), 2))
    visible = np.zeros(pixels.shape[:2], dtype=bool)
    for i, p, *place, shown in zip(image, part, x, y, seen, strict=True):
        if i in row_of and p in column_of:
            pixels[row_of[i], column_of[p]] = place
            visible[row_of[i], column_of[p]] = shown == 1
    return pixels, visible


def read_boxes(index: Index) -> np.ndarray:
    """Bounding boxes (x, y, width, height) in pixels, `[N, 4]`.

    Raises:
        RunError: if their file is missing or broken.
    """
    if not (index.root / "bounding_boxes.txt").exists():
        raise RunError(
            f"No bounding_boxes.txt in {index.root} to crop by. It comes with CUB-200-2011, {SOURCE}, "
            f"which belongs in {CUB2011.folder} below the data root; or use whole images with --cropGT False."
        )
    return read_column(index.root, "bounding_boxes", 4, index.image_ids, CUB2011.name)


def read_column(root: Path, name: str, width: int, image_ids, dataset: str) -> np.ndarray:
    """The `width` numbers that a text file gives for each of `image_ids`, `[N, width]`.

    Raises:
        RunError: if the file is missing or broken, or has no line for an image.
    """
    return of_images(read_rows(root, name, width, finite, dataset), root / f"{name}.txt", image_ids)


def of_images(rows: dict[str, list], path: Path, image_ids) -> np.ndarray:
    """The values that the rows of a file give for each of `image_ids`, `[N, width]`; RunError if one has none."""
    missing = [image_id for image_id in image_ids if image_id not in rows]
    if missing:
        raise RunError(f"{path} has no line for image {missing[0]} of images.txt.")
    return np.array([rows[image_id] for image_id in image_ids])


def read_rows(root: Path, name: str, width: int, kind, dataset: str) -> dict[str, list]:
    """`{id: [values]}` of a text file whose lines are an id and `width` values.

    Raises:
        RunError: if the file is missing, a line has another form, or an id comes twice; names the file and line.
    """
    path = require(root / f"{name}.txt", dataset, root, SOURCE)
    rows = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}).") from None
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
    """The numbers in the lines of a text file, or in some columns of them, `[lines, columns]`.

    Raises:
        RunError: if there are none, or something else; names the file.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of an empty file
            table = np.loadtxt(path, usecols=usecols, ndmin=2)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is not a table of numbers ({error}).") from None
    if not table.size or not np.isfinite(table).all():
        raise RunError(f"{path} is empty, or holds values that are not finite numbers.")
    return table


def finite(text: str) -> float:
    """The number that `text` spells; ValueError for words, infinities and "nan"."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


def read_class_attributes(root: Path, kept, class_ids: list[int]) -> np.ndarray | None:
    """Share of people who saw each attribute on each class, `[C, 312]` in percent; None without the file.

    The rows belong to the lines of `classes.txt`; a file of all 200 classes beside fewer of them, to the class ids.

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
