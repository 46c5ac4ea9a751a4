"""Forward passes over a whole dataset without autograd: the one place where trained models meet images."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from architectures.activations import peak_positions
from architectures.resnet import InterpretableResNet, ModelOutput
from configs.hardware import Hardware

INFERENCE_BATCH = 64


@dataclass(frozen=True)
class FeatureTable:
    """What a sparse model says about every image of a dataset, without the maps; all on the CPU.

    Attributes:
        features: `[N, n]`, what the head multiplies: normalised, after ReLU for CHiQPM.
        pooled: `[N, n]`, mean of the feature maps, >= 0.
        logits: `[N, C]`.
        labels: `[N]`.
        peaks: `[N, n, 2]`, row and column of each map's maximum as fractions of the image (centre of the cell).
    """

    features: Tensor
    pooled: Tensor
    logits: Tensor
    labels: Tensor
    peaks: Tensor

    def save(self, path: Path) -> None:
        """Write the table as `.npz`."""
        np.savez(path, **{f.name: getattr(self, f.name).numpy() for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "FeatureTable":
        """Read a table written by `save`."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{f.name: torch.from_numpy(arrays[f.name]) for f in fields(cls)})

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> "FeatureTable":
        """The table of some of the images."""
        return FeatureTable(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def predictions(self) -> Tensor:
        """Predicted classes, `[N]`."""
        return self.logits.argmax(dim=1)

    @property
    def accuracy(self) -> float:
        """Fraction of correctly classified images."""
        return (self.predictions == self.labels).double().mean().item()


@torch.inference_mode()
def predict_batches(
    model: InterpretableResNet, dataset, hardware: Hardware, description: str
) -> Iterator[tuple[ModelOutput, Tensor]]:
    """Model output and labels of every batch, in the dataset's order, on the model's device.

    Args:
        model: put into evaluation mode.
        dataset: yields `(image, label)`.
        hardware: device and loading workers.
        description: what the progress bar says.
    """
    model.eval()
    loader = DataLoader(dataset, batch_size=INFERENCE_BATCH, **hardware.loader_options())
    for images, labels in tqdm(loader, desc=description, unit="batch", leave=False):
        images = hardware.to_device(images)
        yield model(images), labels.to(hardware.device)


def collect_feature_table(
    model: InterpretableResNet, dataset, hardware: Hardware, description: str = "Features"
) -> FeatureTable:
    """The feature table of a sparse model on a dataset (one pass, maps are dropped batch by batch)."""
    parts = []
    for output, labels in predict_batches(model, dataset, hardware, description):
        maps = output.feature_maps
        cells = torch.tensor(maps.shape[-2:], device=maps.device)
        parts.append(
            (
                output.features,
                maps.mean(dim=(2, 3)),
                output.logits,
                labels,
                (peak_positions(maps) + 0.5) / cells,
            )
        )
    return FeatureTable(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
