"""Stanford Cars (Krause et al., 2013) in its official layout, read by torchvision's own dataset class."""

from pathlib import Path

import numpy as np
from torchvision import datasets

from configs.errors import RunError
from dataset_classes.base import NEEDS_NO_DOWNLOAD, ImageDataset, require

SOURCE = "https://www.kaggle.com/datasets/eduardo4jesus/stanford-cars-dataset (the authors' page is offline)"
LAYOUT = {
    "train": ("devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_train"),
    "test": ("devkit/cars_meta.mat", "cars_test_annos_withlabels.mat", "cars_test"),
}


class StanfordCars(ImageDataset):
    """One split of Stanford Cars; it has no crop to the ground truth, so `crop_gt` has no effect.

    Classes without an image in either split are left out, so a subset in the same layout works.

    Raises:
        RunError: if the dataset is missing or broken; names the folder, what was expected and where to get it.
    """

    name = "StanfordCars"
    mean = (0.4593, 0.4466, 0.4453)
    std = (0.2920, 0.2910, 0.2988)

    def __init__(self, data_root, split: str, *, img_size: int = 224, crop_gt: bool = False):
        root = Path(data_root)
        splits = {part: read_split(root, part) for part in LAYOUT}
        paths, labels, names = splits[split]
        kept = np.unique(np.concatenate([labels for _, labels, _ in splits.values()]))
        super().__init__(paths, np.searchsorted(kept, labels), [names[i] for i in kept], root=root)


def read_split(root: Path, split: str) -> tuple[list[str], np.ndarray, list[str]]:
    """Image paths, labels and all class names as torchvision reads them; RunError if a file is broken."""
    base = root / "StanfordCars" / "stanford_cars"
    for expected in LAYOUT[split]:
        require(base / expected, StanfordCars.name, root, SOURCE)
    try:
        cars = datasets.StanfordCars(base.parent, split, loader=str)  # the "image" is its path
        samples = [cars[i] for i in range(len(cars))]
        labels = np.array([label for _, label in samples], dtype=np.int64)
        if not 0 <= labels.min() <= labels.max() < len(cars.classes):
            raise ValueError("a class number without a name")
    except Exception as error:  # scipy raises many kinds for a damaged .mat file
        raise RunError(
            f"The annotations of StanfordCars under {base} cannot be read ({error}); looked in "
            f"{', '.join(LAYOUT[split][:2])}. Unpack them again, {NEEDS_NO_DOWNLOAD}."
        ) from None
    return [path for path, _ in samples], labels, cars.classes
