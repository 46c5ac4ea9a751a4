"""Your own images: any folder of class folders.

    PATH/train/robin/1.jpg  and  PATH/test/robin/2.jpg  (or val/)      the split is yours
    PATH/robin/1.jpg                                                   one folder, split here by the images' content

`PATH/attributes.csv` may describe the classes (a line per class: its folder name, then one number per attribute, under
a header that names them); with it structural grounding can be measured.
"""

import csv
import functools
import logging
import unicodedata
from pathlib import Path

import numpy as np

from configs.errors import RunError, reason
from configs.script import progress, warn_once
from dataset_classes.base import ImageDataset
from dataset_classes.content_split import digests
from dataset_classes.contents import contents
from dataset_classes.image_files import read_image
from dataset_classes.image_list import ImageList
from dataset_classes.layouts import find_splits
from dataset_classes.pixels import ALMOST_BLACK, PixelScale
from dataset_classes.remembered import remember, remembered

log = logging.getLogger(__name__)
STATISTICS_IMAGES = 2000  # at most; more would not change the third digit
STATISTICS_SIDE = 128  # pixels, the longer side


class ImageFolder(ImageDataset):
    """One split of a folder of class folders; in another layout, a RunError says what was found and expected."""

    name = "ImageFolder"
    upright = True

    def __init__(self, data_root, split: str, *, img_size: int = 224, crop_gt: bool = False, found=None):
        root = Path(data_root)
        train, test = found or find_splits(root)
        classes = list(train)
        images = train if split == "train" else test
        paths = [path for name in classes for path in images.get(name, [])]
        labels = [label for label, name in enumerate(classes) for _ in images.get(name, [])]
        table = root / "attributes.csv"
        attributes = read_attributes(table, classes) if table.exists() else None
        super().__init__(paths, labels, classes, root=root, attributes=attributes)
        self._train_paths = [path for paths in train.values() for path in paths]
        self._all_paths = self._train_paths + [path for paths in test.values() for path in paths]

    @classmethod
    def both(cls, data_root, *, known: ImageList | None = None, **options):
        """Both splits; the folders are searched once."""
        found = find_splits(Path(data_root), known)
        return cls(data_root, "train", found=found), cls(data_root, "test", found=found)

    @functools.cached_property
    def scale(self) -> PixelScale:  # type: ignore[override]
        """Black and white of images that do not have 8 bits, the same for all images of the dataset."""
        found = zip(self._all_paths, contents(self._all_paths, self.root), strict=True)
        values = {path: content.values for path, content in found if content.values}
        scale = PixelScale.of(values.values())
        for kind in scale.ranges:
            warn_of_brightest({path: v.high for path, v in values.items() if v.kind == kind})
        return scale

    @functools.cached_property
    def _statistics(self):
        return channel_statistics(self._train_paths, self.root, self.scale)

    @functools.cached_property
    def mean(self) -> tuple[float, ...]:  # type: ignore[override]
        """Channel means of the training images, measured on first access."""
        return self._statistics[0]

    @functools.cached_property
    def std(self) -> tuple[float, ...]:  # type: ignore[override]
        """Channel standard deviations of the training images, measured on first access."""
        return self._statistics[1]


def warn_of_brightest(highest: dict[str, float]) -> None:
    """Warn if most images of one kind, given their largest values, are almost black next to the brightest one."""
    brightest = max(highest, key=highest.__getitem__)
    usual = float(np.median([*highest.values()]))
    if usual * 255 < highest[brightest] * ALMOST_BLACK:
        warn_once(
            log,
            f"{brightest} has values up to {highest[brightest]:.4g}, others usually up to {usual:.4g}: beside it they "
            "are almost black. Rescale or remove it.",
        )


def channel_statistics(paths: list[str], root: Path, scale: PixelScale) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the colour channels, pixels in [0, 1], over (a sample of) the images.

    Remembered in the user's cache folder, by the contents of the files.
    """
    key = {"images": digests(paths, root), "scale": scale.ranges}
    known = remembered("channel_statistics", key)
    if known is None:
        known = measure_channels(paths, scale)
        remember("channel_statistics", key, known)
    return tuple(known["mean"]), tuple(known["std"])


def measure_channels(paths: list[str], scale: PixelScale) -> dict[str, list[float]]:
    """Mean and standard deviation over at most `STATISTICS_IMAGES` of the images, all with equal weight."""
    chosen = np.random.default_rng(0).permutation(len(paths))[:STATISTICS_IMAGES]
    sums = np.zeros((2, 3))
    for i in progress(chosen, desc="Measuring channel statistics", unit="image"):
        image = read_image(paths[i], scale=scale)
        image.thumbnail((STATISTICS_SIDE, STATISTICS_SIDE))
        pixels = np.asarray(image).reshape(-1, 3) / 255
        sums += pixels.mean(0), (pixels**2).mean(0)
    mean, mean_square = sums / len(chosen)
    std = np.sqrt(np.maximum(mean_square - mean**2, 0))
    # Images of a single colour must not lead to a division by 0.
    return {"mean": mean.tolist(), "std": np.maximum(std, 1e-3).tolist()}


def read_attributes(path: Path, classes: list[str]) -> np.ndarray:
    """The table `[C, A]` of `attributes.csv`, rows as `classes`; RunError, which names it, if a line is wrong."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *lines = [row for row in csv.reader(file) if row] or [[""]]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise RunError(f"{path} cannot be read as a table ({reason(error)}).") from None
    n_attributes = len(header) - 1
    if not n_attributes:
        raise RunError(f"{path}: expected a header 'class,ATTRIBUTE,...', found '{','.join(header)}'.")
    rows = {}
    for line in lines:
        name = _composed(line[0])
        if name in rows:
            raise RunError(f"{path} has two lines for class '{name}'.")
        try:
            rows[name] = [float(value) for value in line[1:]]
        except ValueError as error:
            raise RunError(f"{path}, class '{line[0]}': {error}.") from None
        if len(line) != len(header):
            raise RunError(f"{path}, class '{line[0]}': {len(line) - 1} values for {n_attributes} attributes.")
    missing = [name for name in classes if _composed(name) not in rows]
    if missing:
        raise RunError(f"{path} has no line for class '{missing[0]}' ({len(missing)} of {len(classes)} are missing).")
    table = np.array([rows[_composed(name)] for name in classes])
    if not np.isfinite(table).all():
        raise RunError(f"{path} holds values that are not finite numbers.")
    return table


def _composed(name: str) -> str:
    """A class name in the Unicode form that people type: file systems may use another one."""
    return unicodedata.normalize("NFC", name).strip()
