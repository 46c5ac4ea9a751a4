"""TravelingBirds (Koh et al., 2020): CUB with backgrounds that follow the class in training and change in testing."""

from pathlib import Path

from configs.errors import RunError
from dataset_classes.base import require
from dataset_classes.cub import CUB2011, Index, read_index

SOURCE = "https://worksheets.codalab.org/worksheets/0x362911581fcd4e048ddfd84f47203fd2 (CUB_fixed)"


class TravelingBirds(CUB2011):
    """One split of TravelingBirds: CUB's training birds from `CUB_fixed/train`, its test birds from `CUB_fixed/test`.

    Both folders hold all birds, on different backgrounds, so only CUB's own split, as in the published code, keeps a
    bird from being on both sides. CUB's text files may lie in `CUB_fixed` or in `CUB200/CUB_200_2011`.

    Raises:
        RunError: if the dataset or the text files are missing or broken.
    """

    name = "TravelingBirds"
    mean = (0.4584, 0.4369, 0.3957)
    std = (0.2610, 0.2569, 0.2722)
    folder = Path("TravelingBirds", "CUB_fixed")
    cropped_folder = Path("PPTravelingBirds", "CUB_fixed")

    @classmethod
    def read_index(cls, root: Path) -> Index:
        """CUB's text files; RunError if they are missing or broken."""
        require(root / cls.folder, cls.name, root, SOURCE)
        for annotations in (root / cls.folder, root / CUB2011.folder):
            if (annotations / "images.txt").exists():
                return read_index(annotations, cls.name)
        raise RunError(
            "TravelingBirds needs the text files of CUB-200-2011 (train_test_split.txt and others), found neither "
            f"in {root / cls.folder} nor in {root / CUB2011.folder}: train/ and test/ hold all birds, and only CUB's "
            "split says which of them are for testing"
        )

    def image_folder(self, root: Path, split: str) -> Path:
        """`CUB_fixed/train` and `CUB_fixed/test`, or one folder for both."""
        folders = [root / self.folder / name for name in (split, "images")]
        return next((folder for folder in folders if folder.is_dir()), root / self.folder)
