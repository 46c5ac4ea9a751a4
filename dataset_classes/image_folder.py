"""Your own images: any folder of class folders.

    PATH/train/robin/1.jpg  and  PATH/test/robin/2.jpg  (or val/)      the split is yours
    PATH/robin/1.jpg                                                   one folder, split here, always in the same way

`PATH/attributes.csv` may describe the classes (a line per class: its folder name, then one number per attribute, under
a header that names them); with it structural grounding can be measured.
"""

import csv
import functools
import hashlib
import logging
import os
import zlib
from pathlib import Path

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from configs.errors import RunError
from configs.paths import cache_folder
from configs.run_folder import fingerprint, read_json, write_json
from configs.script import progress, warn_once
from dataset_classes.base import NEEDS_NO_DOWNLOAD, ImageDataset, read_image

logger = logging.getLogger(__name__)

EXTENSIONS = (*IMG_EXTENSIONS, ".gif")
TEST_FOLDERS = ("test", "val", "valid", "validation")
TEST_SHARE = 0.3  # of every class, where one folder is split here
SPLIT_SEED = 0  # not the run's: every run tests on the same images
STATISTICS_IMAGES = 2000  # at most; more do not change the third digit
# Read of every file to tell it from others; covers the header and the first rows.
CONTENT_BYTES = 2**16
STATISTICS_SIDE = 128  # pixels, the longer side


class ImageFolder(ImageDataset):
    """One split of a folder of class folders at `data_root`.

    Raises:
        RunError: if the layout is another one; says what was found and what was expected.
    """

    name = "ImageFolder"
    upright = True

    def __init__(self, data_root, split: str, *, img_size: int = 224, crop_gt: bool = False):
        root = Path(data_root)
        train, test = find_splits(root)
        classes = list(train)
        images = train if split == "train" else test
        paths = [path for name in classes for path in images.get(name, [])]
        labels = [label for label, name in enumerate(classes) for _ in images.get(name, [])]
        super().__init__(paths, labels, classes)
        self._train_paths = [path for paths in train.values() for path in paths]
        if (root / "attributes.csv").exists():
            self._attributes = read_attributes(root / "attributes.csv", classes)

    @functools.cached_property
    def _statistics(self):
        return channel_statistics(self._train_paths)

    @functools.cached_property
    def mean(self) -> tuple[float, ...]:
        """Channel means of the training images, measured when first asked for."""
        return self._statistics[0]

    @functools.cached_property
    def std(self) -> tuple[float, ...]:
        """Channel standard deviations of the training images, measured when first asked for."""
        return self._statistics[1]

    def fingerprint(self) -> str:
        """As everywhere, and different for other pictures under the same names."""
        return fingerprint({"names": super().fingerprint(), "content": self._content})

    @functools.cached_property
    def _content(self) -> str:
        return content(self.paths)


def content(paths: list[str]) -> str:
    """A short name of the files' content, by their sizes and beginnings: tells pictures apart in little time.

    Raises:
        RunError: if a file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            with open(path, "rb") as file:
                digest.update(f"{os.path.getsize(path)} ".encode() + file.read(CONTENT_BYTES))
        except OSError as error:
            raise RunError(f"The image {path} cannot be read ({error.strerror}).") from None
    return digest.hexdigest()


ClassImages = dict[str, list[str]]  # image files by class name


def find_splits(root: Path) -> tuple[ClassImages, ClassImages]:
    """Training and test images by class name, from two folders or by splitting one.

    Raises:
        RunError: if these are no folders of class folders, or their classes do not fit together.
    """
    if not root.is_dir():
        found = "it is a file" if root.exists() else "it does not exist"
        raise RunError(
            f"--data_root {root} must be a folder of class folders, but {found}; {NEEDS_NO_DOWNLOAD}."
        )
    test_folders = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    train_folder = root / "train"
    if test_folders and not train_folder.is_dir():
        raise RunError(f"{root} has a folder {test_folders[0].name}/ but no train/ beside it.")
    if not test_folders:
        folder = train_folder if train_folder.is_dir() else root
        warn_once(  # both splits look at the same folders
            logger,
            "%s has no test/ or val/: %.0f %% of every class are kept for testing",
            root,
            100 * TEST_SHARE,
        )
        return split_classes(used_classes(folder))
    train, test = used_classes(train_folder), used_classes(test_folders[0])
    unknown = sorted(set(test) - set(train))
    if unknown:
        raise RunError(
            f"Class '{unknown[0]}' has images in {test_folders[0]} but none in {train_folder}."
        )
    return train, test


def used_classes(folder: Path) -> ClassImages:
    """The classes below `folder` that have images.

    Raises:
        RunError: if there are none; says what is there instead.
    """
    classes = scan_classes(folder)
    for name in [name for name, images in classes.items() if not images]:
        warn_once(
            logger, "%s has no images (%s) and is left out.", folder / name, " ".join(EXTENSIONS)
        )
        del classes[name]
    if classes:
        return classes
    loose = sum(map(is_image, os.listdir(folder)))
    if loose:
        raise RunError(
            f"{folder} holds {loose} images but no class folders; put the images of each class in a folder."
        )
    raise RunError(
        f"No images under {folder}: expected {folder}/CLASS/IMAGE, or train/ and test/ with such folders."
    )


def scan_classes(folder: Path) -> ClassImages:
    """The image files below every sub-folder, both in the order of their names.

    Raises:
        RunError: if the folder cannot be read, or a name in it.
    """
    try:
        names = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
        )
    except OSError as error:
        raise RunError(f"Cannot look into {folder}: {error.strerror}.") from None
    for name in names:
        if name.encode(errors="ignore").decode() != name:
            raise RunError(f"The folder name {name!r} in {folder} is not UTF-8 text; rename it.")
    walks = {name: os.walk(folder / name, followlinks=True) for name in names}
    return {
        name: sorted(
            os.path.join(place, file)
            for place, _, files in walk
            for file in files
            if is_image(file)
        )
        for name, walk in walks.items()
    }


def is_image(file: str) -> bool:
    """Whether a file is an image by its name; hidden files (as macOS leaves them) are none."""
    return file.lower().endswith(EXTENSIONS) and not file.startswith(".")


def split_classes(classes: ClassImages) -> tuple[ClassImages, ClassImages]:
    """Training and test images: the share `TEST_SHARE` of every class for testing, at least one, but 2 for training."""
    train, test = {}, {}
    for name, images in classes.items():
        n_test = min(max(round(TEST_SHARE * len(images)), 1), max(len(images) - 2, 0))
        # New classes move no image of the others.
        rng = np.random.default_rng([SPLIT_SEED, zlib.crc32(name.encode())])
        order = rng.permutation(len(images))
        test[name] = [images[i] for i in sorted(order[:n_test])]
        train[name] = [images[i] for i in sorted(order[n_test:])]
    return train, test


def channel_statistics(paths: list[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the colour channels, pixels in [0, 1], over (a sample of) the images.

    Remembered in the user's cache folder, never beside the images: those may be read-only or shared.
    """
    files = [(path, (stat := os.stat(path)).st_size, stat.st_mtime_ns) for path in paths]
    home = cache_folder()
    cache = home and home / "channel_statistics" / f"{fingerprint({'files': files})}.json"
    known = cache and read_json(cache)
    if known is None:
        known = measure_channels(paths)
        try:
            if cache is None:
                raise RunError("this user has no home folder here")
            write_json(cache, known)
        except RunError as error:
            warn_once(logger, "The channel statistics are not remembered: %s", str(error))
    return tuple(known["mean"]), tuple(known["std"])


def measure_channels(paths: list[str]) -> dict[str, list[float]]:
    """Mean and standard deviation over at most `STATISTICS_IMAGES` of the images, each counting alike."""
    chosen = np.random.default_rng(0).permutation(len(paths))[:STATISTICS_IMAGES]
    sums = np.zeros((2, 3))
    for i in progress(chosen, desc="Measuring channel statistics", unit="image"):
        image = read_image(paths[i])
        image.thumbnail((STATISTICS_SIDE, STATISTICS_SIDE))
        pixels = np.asarray(image).reshape(-1, 3) / 255
        sums += pixels.mean(0), (pixels**2).mean(0)
    mean, mean_square = sums / len(chosen)
    std = np.sqrt(np.maximum(mean_square - mean**2, 0))
    # Images of one colour divide by no 0.
    return {"mean": mean.tolist(), "std": np.maximum(std, 1e-3).tolist()}


def read_attributes(path: Path, classes: list[str]) -> np.ndarray:
    """The table `[C, A]` of `attributes.csv`, rows in the order of `classes`.

    Raises:
        RunError: if a class is missing or a line does not fit; names the line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *lines = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise RunError(f"{path} cannot be read as a table ({error}).") from None
    n_attributes = len(header) - 1
    if not n_attributes:
        raise RunError(
            f"{path}: expected a header 'class,ATTRIBUTE,...', found '{','.join(header)}'."
        )
    rows = {}
    for line in lines:
        try:
            rows[line[0].strip()] = [float(value) for value in line[1:]]
        except ValueError as error:
            raise RunError(f"{path}, class '{line[0]}': {error}.") from None
        if len(line) != len(header):
            raise RunError(
                f"{path}, class '{line[0]}': {len(line) - 1} values for {n_attributes} attributes."
            )
    missing = [name for name in classes if name not in rows]
    if missing:
        raise RunError(
            f"{path} has no line for class '{missing[0]}' ({len(missing)} of {len(classes)} are missing)."
        )
    table = np.array([rows[name] for name in classes])
    if not np.isfinite(table).all():
        raise RunError(f"{path} holds values that are not finite numbers.")
    return table
