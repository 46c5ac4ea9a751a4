"""What every stage of a run works on."""

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
    """A run in progress."""

    settings: Settings  # as asked for, with a seed
    folder: RunFolder
    hardware: Hardware
    data: DataSplits
    # Maps that the frozen part of a network makes of the training images, by the seed of their augmentation, and of the
    # images on which the accuracy is measured, by None
    frozen_maps: dict[int | None, Tensor] = field(default_factory=dict)

    def beside(self, split: str) -> str:
        """Prefix of files that are made from a split: `BESIDE` if its images are not the model's own."""
        return BESIDE if self.data is not None and split in self.data.others else ""
