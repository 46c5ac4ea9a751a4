"""Datasets by name, and the three views of one that the pipeline works with."""

import logging
import pkgutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from architectures.backbones.base import BackboneSpec
from architectures.backbones.registry import backbone_of
from architectures.classifier import InterpretableClassifier
from architectures.finished_model import load_finished_model
from configs.errors import RunError, UsageError
from configs.files import sha256
from configs.hardware import Hardware
from configs.model_card import ModelCard
from configs.open_run import OpenRun
from configs.recipes import DATASETS
from configs.run_files import IMAGE_LIST, sparse_model_file
from configs.run_folder import RunFolder
from configs.script import warn_once
from configs.settings import Settings
from dataset_classes.base import NEEDS_NO_DOWNLOAD, ImageDataset, relative_name
from dataset_classes.description import LISTED, DataDescription
from dataset_classes.image_list import ImageList, ListedImage
from dataset_classes.pixels import is_almost_black
from dataset_classes.transforms import interpolated

log = logging.getLogger(__name__)

LOOKED_AT = 20  # images that are checked for being black before training
UNEVEN = 3  # ratio of the largest class to the smallest from which the log advises --balanced


@dataclass(frozen=True)
class DataSplits:
    """Training images augmented, the same images under the test transform, and the test images.

    `held_out` are training images, under the test transform, that a run was asked not to train on; then `whole` are all
    training images. `others`: which of `train` and `test` are not the images that a finished model was made with.
    """

    train: ImageDataset
    train_unaugmented: ImageDataset
    test: ImageDataset
    held_out: ImageDataset | None = None
    whole: ImageDataset | None = None
    others: tuple[str, ...] = ()

    @property
    def watched(self) -> ImageDataset:
        """The images on which the accuracy is measured during training: held-out ones, or else the test images."""
        return self.test if self.held_out is None else self.held_out

    def without(self, share: float) -> "DataSplits":
        """The data with a share of every class's training images held out, always the same ones.

        Every class keeps at least 2 images.
        """
        generator = np.random.default_rng(0)
        held_out = np.zeros(len(self.train), dtype=bool)
        for label in range(len(self.train.classes)):
            rows = generator.permutation(np.flatnonzero(self.train.labels == label))
            held_out[rows[: min(round(share * len(rows)), len(rows) - 2)]] = True
        train, unaugmented = (
            images.subset(np.flatnonzero(~held_out)) for images in (self.train, self.train_unaugmented)
        )
        kept_out = self.train_unaugmented.subset(np.flatnonzero(held_out))
        return replace(self, train=train, train_unaugmented=unaugmented, held_out=kept_out, whole=self.train)

    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of the training (also held-out) and the test images."""
        train = self.train if self.whole is None else self.whole
        return {"train": train.fingerprint(), "test": self.test.fingerprint()}

    def image_list(self) -> ImageList:
        """Every image with its split and the digest of its content; RunError if an image cannot be read."""
        splits = (("train", self.train), ("train", self.held_out), ("test", self.test))
        return ImageList(
            tuple(
                ListedImage(split, digest, relative_name(path, data.root))
                for split, data in splits
                if data is not None
                for digest, path in zip(data.digests(), data.paths, strict=True)
            )
        )


def both_splits(settings: Settings, known: ImageList | None = None) -> tuple[ImageDataset, ImageDataset]:
    """The training and the test split of a dataset, as the class that its recipe names finds them; not checked yet.

    Args:
        known: the run's list of its images, whose split a dataset without an official split keeps.

    Raises:
        RunError: if the dataset is missing or broken.
    """
    dataset: type[ImageDataset] = pkgutil.resolve_name(f"dataset_classes.{DATASETS[settings.dataset].source}")
    return dataset.both(Path(settings.data_root), img_size=settings.img_size, crop_gt=settings.crop, known=known)


def data_of(settings: Settings, backbone: BackboneSpec, known: ImageList | None = None) -> DataSplits:
    """The data of a run, as its backbone needs them; arguments and errors as in `load_data`."""
    data = load_data(settings, backbone, known)
    data.train.balanced = settings.balanced
    counts = np.bincount(data.train.labels)
    uneven = counts.max() > UNEVEN * counts.min() and not settings.balanced
    log.info(
        "%d classes, %s training images of each (%d in all); %d test images.%s",
        len(counts), range_of(counts), len(data.train), len(data.test),
        " The classes differ much: --balanced shows them equally often." if uneven else "",
    )  # fmt: skip
    if not settings.validation:
        return data
    data = data.without(settings.validation)
    if not len(data.watched):
        raise UsageError(f"--validation {settings.validation} holds out no image: the classes have too few for it")
    return data


def range_of(counts: np.ndarray) -> str:
    """ "30" or "18 to 30"."""
    least, most = counts.min(), counts.max()
    return f"{least}" if least == most else f"{least} to {most}"


def open_finished(settings: Settings, folder: RunFolder) -> tuple[OpenRun, InterpretableClassifier]:
    """A finished run and its model, on the requested hardware; RunError if model or images cannot be read."""
    hardware = Hardware.choose(settings.device, settings.workers)
    data = data_of_model(settings, folder, backbone_of(settings))
    model = load_finished_model(settings, folder, data.train.classes, hardware)
    return OpenRun(settings, folder, hardware, data), model


def data_of_model(settings: Settings, folder: RunFolder, backbone: BackboneSpec) -> DataSplits:
    """The data of a finished model under the transform and scale that it was trained with; errors as in `load_data`.

    Logs a warning if these are not the images that the model was made with.
    """
    splits = data_of(settings, backbone, listed_images(settings, folder))
    card = ModelCard.read(folder.file(sparse_model_file(settings)))
    now = {} if card is None else splits.fingerprints()
    others = tuple(split for split, name in now.items() if card.images.get(split) != name)
    splits = replace(splits, others=others)
    about = DataDescription.recorded(settings, folder)
    if about is None or about.classes != splits.test.classes:
        return splits  # nothing is known, or loading the model will fail
    for split in others:
        log.warning(
            "The %s images under %s are not those that %s was made with.",
            {"train": "training"}.get(split, split),
            settings.data_root,
            folder.file(sparse_model_file(settings)),
        )
    unaugmented, test = (s.with_transform(about.transform) for s in (splits.train_unaugmented, splits.test))
    unaugmented.scale = test.scale = about.scale
    return replace(splits, train_unaugmented=unaugmented, test=test)


def listed_images(settings: Settings, folder: RunFolder) -> ImageList | None:
    """The list of images that a model of a run was made with; None if there is none, or it was replaced since."""
    path = folder.file(IMAGE_LIST)
    card = ModelCard.read(folder.file(sparse_model_file(settings)))
    if card is not None and path.exists() and card.images.get(LISTED) != sha256(path):
        warn_once(log, f"{path} is not the list that {settings.model_name} was made with: not used.")
        return None
    return ImageList.read(path)


def load_data(settings: Settings, backbone: BackboneSpec, known: ImageList | None) -> DataSplits:
    """Both splits of a dataset, checked for what training needs.

    Args:
        backbone: may ask for other channel statistics and interpolation than the dataset.
        known: as in `both_splits`; a warning counts test images that it lists as trained on.

    Raises:
        RunError: if the dataset is missing or broken, or too small to train on.
    """
    train, test = both_splits(settings, known)
    check_splits(train, test, settings.data_root)
    if known is not None:
        known.warn_of_trained(test.paths, test.digests())
    if backbone.mean is not None:
        for split in (train, test):
            split.mean, split.std = backbone.mean, backbone.std
    train_transform, test_transform = (
        interpolated(transform, backbone.interpolation)
        for transform in (train.train_transform(settings.img_size), train.test_transform(settings.img_size))
    )
    return DataSplits(
        train=train.with_transform(train_transform),
        train_unaugmented=train.with_transform(test_transform),
        test=test.with_transform(test_transform),
    )


def warn_of_two_labels(train: ImageDataset) -> None:
    """Log how many training images also lie under another label."""
    label_of: dict[str, int] = {}
    images = zip(train.paths, train.digests(), train.labels.tolist(), strict=True)
    found = [path for path, digest, label in images if label_of.setdefault(digest, label) != label]
    if found:
        log.warning(
            "Training images that lie under another label, too: %d, the first is %s; python -m dataset_classes.check "
            "lists them.",
            len(found),
            found[0],
        )


def warn_of_dark(train: ImageDataset) -> None:
    """Log a warning if most of a sample of the training images are almost black."""
    rows = np.random.default_rng(0).permutation(len(train))[:LOOKED_AT]
    dark = [train.paths[i] for i in rows if is_almost_black(train.full_image(i))]
    if len(dark) > len(rows) / 2:
        log.warning(
            "%d of %d training images that were looked at are almost black, the first is %s: were they saved with more "
            "bits than they use?",
            len(dark), len(rows), dark[0],
        )  # fmt: skip


def check_splits(train: ImageDataset, test: ImageDataset, root) -> None:
    """Raise a RunError unless all images exist: at least 2 classes, 2 training images in each, 2 test images."""
    where = f"{train.name} under {root}"
    missing = train.missing_images() + test.missing_images()
    if missing:
        raise RunError(
            f"{where}: {len(missing)} of {len(train) + len(test)} images are missing, the first is {missing[0]}; "
            f"unpack the dataset again, {NEEDS_NO_DOWNLOAD}."
        )
    if len(train.classes) < 2:
        raise RunError(f"{where} has only the class '{train.classes[0]}'; at least 2 are needed.")
    counts = np.bincount(train.labels, minlength=len(train.classes))
    if counts.min() < 2:
        scarce = counts.argmin()
        raise RunError(
            f"{where}: class '{train.classes[scarce]}' has {counts[scarce]} training images; every class needs 2."
        )
    if len(test) < 2:
        held = "1 test image" if len(test) else "no test images"
        raise RunError(f"{where} has {held}; 2 are needed: one calibrates the prediction sets, one measures them.")
    untested = len(train.classes) - len(np.unique(test.labels))
    if untested:
        log.warning("%s: %d classes have no test images.", where, untested)
