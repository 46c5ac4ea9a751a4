"""ImageNet (ILSVRC 2012) in torchvision's layout: `train/` and `val/` with a folder per class."""

import logging
from pathlib import Path

import torch
from timm.data import ImageNetInfo
from torchvision import datasets
from torchvision.models import ResNet50_Weights

from configs.errors import RunError, reason
from dataset_classes import transforms
from dataset_classes.base import ImageDataset, require
from dataset_classes.folders import Skipped, class_folders, scan_classes

log = logging.getLogger(__name__)

SOURCE = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
ARCHIVES = {"train": "ILSVRC2012_img_train.tar", "val": "ILSVRC2012_img_val.tar"}


class ImageNet(ImageDataset):
    """One split of ImageNet, or of a subset of its classes; the validation images are the test split.

    Archives are first unpacked by torchvision. Class names come from its `meta.bin` or the full list of 1000; otherwise
    they are the folder names (WordNet ids).

    Raises:
        RunError: if the dataset is missing or broken; names the folder, what was expected and where to get it.
    """

    name = "ImageNet"
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, data_root, split: str, *, img_size: int = 224, crop_gt: bool = False):
        root = require(Path(data_root) / "imagenet", self.name, Path(data_root), SOURCE)
        folder = {"train": "train", "test": "val"}[split]
        unpack(root, folder)
        wnids = list(class_folders(require(root / "train", self.name, root, SOURCE), Skipped()))
        label_of = {wnid: label for label, wnid in enumerate(wnids)}
        skipped = Skipped()
        images = scan_classes(require(root / folder, self.name, root, SOURCE), skipped)
        if skipped.line():
            log.warning("%s", skipped.line())
        unknown = sorted(set(images) - set(label_of))
        if unknown:
            raise RunError(f"{root / folder / unknown[0]} has no counterpart in {root / 'train'}.")
        samples = [(path, label_of[wnid]) for wnid, paths in images.items() for path in paths]
        if not samples:
            raise RunError(f"No images in the class folders of {root / folder}.")
        paths, labels = zip(*samples, strict=True)
        super().__init__(paths, labels, class_names(root, wnids), root=data_root)

    def missing_images(self) -> list[str]:
        """None: the dataset consists of the images that were found."""
        return []

    def train_transform(self, img_size: int) -> transforms.ImageTransform:
        """Random resized crops, as the backbone was trained."""
        return transforms.imagenet_train(img_size, self.mean, self.std)

    def test_transform(self, img_size: int) -> transforms.FixedTransform:
        """The centre of the image at 256/224 of the size."""
        return transforms.imagenet_test(img_size, self.mean, self.std)


def unpack(root: Path, folder: str) -> None:
    """Let torchvision unpack the archive of `train` or `val` if there is no folder yet; RunError if it cannot."""
    if (root / folder).is_dir() or not (root / ARCHIVES[folder]).exists():
        return
    log.info("Unpacking %s; this takes a while and is done once.", root / ARCHIVES[folder])
    try:
        datasets.ImageNet(root, folder)
    except (OSError, RuntimeError, EOFError) as error:
        raise RunError(f"{root / ARCHIVES[folder]} cannot be unpacked: {reason(error)}") from None


def class_names(root: Path, wnids: list[str]) -> list[str]:
    """Readable names of the classes, as far as they are known."""
    if (root / "meta.bin").exists():
        try:
            names, _ = torch.load(root / "meta.bin", weights_only=True)
            return [names[wnid][0] for wnid in wnids]
        # Damaged files raise many kinds; missing names are not worth a failed run.
        except Exception as error:
            log.warning("%s cannot be read (%s); classes keep their ids.", root / "meta.bin", error)
    full = wnids == ImageNetInfo().label_names()
    return list(ResNet50_Weights.IMAGENET1K_V1.meta["categories"]) if full else wnids
