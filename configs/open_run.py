"""What every stage of a run works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from configs.hardware import Hardware
from configs.run_files import BESIDE
from configs.run_folder import RunFolder
from configs.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from dataset_classes.registry import DataSplits


@dataclass(frozen=True)
class OpenRun:
    """A run that is worked on."""

    settings: Settings  # what was asked for; with a seed
    folder: RunFolder
    hardware: Hardware
    data: DataSplits
    # What the part of a network that is not trained has made of the training images, by the seed of their augmentation,
    # and of the images on which the accuracy is measured, by None
    frozen_maps: dict[int | None, Tensor] = field(default_factory=dict)

    def beside(self, split: str) -> str:
        """What the names of files begin with that are made from a split: if it is not the model's own, `BESIDE`."""
        return BESIDE if self.data is not None and split in self.data.others else ""
