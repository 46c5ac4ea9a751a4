"""What a finished model needs to know about its dataset, so that it can be used without the dataset."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Self

from torchvision.transforms import InterpolationMode

from configs.files import sha256
from configs.finished_run import RESTORED
from configs.model_card import ModelCard
from configs.open_run import OpenRun
from configs.run_files import IMAGE_LIST, sparse_model_file
from configs.run_folder import RunFolder
from configs.script import warn_once
from configs.settings import Settings
from dataset_classes.base import ImageDataset
from dataset_classes.pixels import PixelScale
from dataset_classes.transforms import FixedTransform, Resize

log = logging.getLogger(__name__)

LISTED = "listed"  # in a card's `images`: SHA-256 of the run's list of images
INTERPOLATIONS = tuple(mode.value for mode in InterpolationMode)


@dataclass(frozen=True)
class DataDescription:
    """Names of the classes, and how an image becomes the network's input."""

    classes: list[str]  # the index is the label
    transform: FixedTransform  # the test transform
    # Which values are black and white in images that do not have 8 bits
    scale: PixelScale = field(default_factory=PixelScale)

    @classmethod
    def of(cls, test: ImageDataset) -> Self:
        """The description of a dataset under its test transform."""
        assert isinstance(test.transform, FixedTransform)
        return cls(test.classes, test.transform, test.scale)

    @classmethod
    def recorded(cls, settings: Settings, folder: RunFolder) -> Self | None:
        """The description in the card of a run's model; None if it has no card, or an unusable one."""
        path = folder.file(sparse_model_file(settings))
        card = ModelCard.read(path)
        if card is None:
            return None
        try:
            return cls.from_dict(card.data)
        except ValueError as error:
            warn_once(log, f"{path}: {error}; its description of the data is ignored.")
            return None

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """What `as_dict` gave; a ValueError names the entry that is missing or of a wrong kind."""
        classes = _entry(data, "data.classes", list)
        if not classes or not all(isinstance(name, str) for name in classes):
            raise ValueError("data.classes is not a list of names")
        mean, std = (_channels(data, f"data.transform.{name}") for name in ("mean", "std"))
        if min(std) <= 0:
            raise ValueError("data.transform.std is not positive")
        size = _pixels(data, "data.transform.resize.size")
        square = _entry(data, "data.transform.resize.square", bool)
        side = _pixels(data, "data.transform.side")
        interpolation = _entry(data, "data.transform.resize.interpolation", str)
        if interpolation not in INTERPOLATIONS:
            raise ValueError("data.transform.resize.interpolation is unknown")
        try:
            scale = PixelScale.recorded(_entry(data, "data.scale.ranges", dict))
        except (AttributeError, TypeError, ValueError):
            raise ValueError("data.scale is not a scale of pixel values") from None
        resize = Resize(size, square, interpolation)
        return cls(classes, FixedTransform(resize, side, mean, std), scale)

    def as_dict(self) -> dict:
        """As built-in values, for a model's card and config.json."""
        return asdict(self)


def model_card(run: OpenRun) -> ModelCard:
    """The card of a model that a run makes."""
    settings, images = run.settings.as_dict(), run.data.fingerprints()
    if run.folder.file(IMAGE_LIST).exists():
        images[LISTED] = sha256(run.folder.file(IMAGE_LIST))
    about = DataDescription.of(run.data.test).as_dict()
    return ModelCard({name: settings[name] for name in RESTORED}, about, images)


def _entry(data: Any, path: str, kind: Any) -> Any:
    """The entry at a path such as `data.transform.side`."""
    value = data
    for name in path.split(".")[1:]:
        if not isinstance(value, Mapping) or name not in value:
            raise ValueError(f"{path} is missing")
        value = value[name]
    if not isinstance(value, kind):
        raise ValueError(f"{path} has the wrong type")
    return value


def _pixels(data: Any, path: str) -> int:
    value = _entry(data, path, int)
    if isinstance(value, bool) or value < 1:
        raise ValueError(f"{path} is not a number of pixels")
    return value


def _channels(data: Any, path: str) -> tuple[float, float, float]:
    values = _entry(data, path, list | tuple)
    numbers = [v for v in values if isinstance(v, int | float) and isfinite(v)]
    if len(numbers) != 3 or len(values) != 3:
        raise ValueError(f"{path} is not a list of three numbers")
    red, green, blue = numbers
    return red, green, blue
