"""TravelingBirds (Koh et al., 2020): CUB with backgrounds that follow the class in training and change in testing."""

from pathlib import Path

import numpy as np

from configs.errors import RunError
from dataset_classes.base import require
from dataset_classes.cub import CUB2011, Index, read_index
from dataset_classes.image_folder import scan_classes

SOURCE = "https://worksheets.codalab.org/worksheets/0x362911581fcd4e048ddfd84f47203fd2 (CUB_fixed)"


class TravelingBirds(CUB2011):
    """One split of TravelingBirds: images in `CUB_fixed/{train,test}`, annotations from CUB itself.

    The text files may lie in `CUB_fixed` or in `CUB200/CUB_200_2011`; without them classes are read from the folder
    names, and cropping is possible from `PPTravelingBirds/CUB_200_2011/{train,test}_cropped` only.

    Raises:
        RunError: if the dataset is missing or broken, or boxes are needed and not there.
    """

    name = "TravelingBirds"
    mean = (0.4584, 0.4369, 0.3957)
    std = (0.2610, 0.2569, 0.2722)
    folder = Path("TravelingBirds", "CUB_fixed")
    cropped_folder = Path("PPTravelingBirds", "CUB_200_2011")

    def read_index(self, root: Path) -> Index:
        """CUB's text files, or the class folders where there are none."""
        require(root / self.folder, self.name, root, SOURCE)
        for annotations in (root / self.folder, root / CUB2011.folder):
            if (annotations / "images.txt").exists():
                return read_index(annotations, self.name)
        return index_of_folders(root / self.folder)

    def image_folder(self, root: Path, split: str) -> Path:
        """`CUB_fixed/train` and `CUB_fixed/test`, or one folder for both."""
        folders = [root / self.folder / name for name in (split, "images")]
        return next((folder for folder in folders if folder.is_dir()), root / self.folder)


def index_of_folders(root: Path) -> Index:
    """The index that the class folders in `train/` and `test/` amount to."""
    images, names, is_train = [], [], []
    for split in ("train", "test"):
        folder = require(root / split, TravelingBirds.name, root, SOURCE)
        for name, paths in scan_classes(folder).items():
            images += [str(Path(path).relative_to(folder)) for path in paths]
            names += [name] * len(paths)
            is_train += [split == "train"] * len(paths)
    if not images:
        raise RunError(f"No TravelingBirds images under {root}/train and {root}/test.")
    class_names, class_ids = np.unique(names, return_inverse=True)
    ids = [str(i) for i in range(len(images))]
    return Index(
        root, ids, images, class_ids, np.array(is_train), dict(enumerate(class_names.tolist()))
    )
