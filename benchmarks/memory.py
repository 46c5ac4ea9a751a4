"""Peak memory of everything that works on the training images' pooled features, at any number of images.

    python -m benchmarks.memory [--images 20000 80000] [--features 2048] [--classes 1000]

Extraction runs on generated stand-in features (a network that only draws them); the constants of the quadratic program,
the dense model's metrics and the choice of features by a sparse linear model then read the file that it wrote. Every
line is measured in a process of its own. Memory is what the process has allocated (anonymous pages); pages of the
mapped file are left out, since the system takes those back whenever it needs them.
"""

import argparse
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from architectures.classifier import ModelOutput
from benchmarks.measuring import in_own_process, measured
from configs.hardware import Hardware
from evaluation import metrics
from sparsification.constants import class_feature_correlation, feature_moments, feature_redundancy
from sparsification.features import (
    POOLED_FILE,
    STATISTICS_FILE,
    DenseFeatures,
    extract_dense_features,
)
from sparsification.glm import choose_features

MAP_SIDE = 1  # of the stand-in feature maps


class StandInImages(Dataset):
    """Numbered images of one pixel."""

    def __init__(self, n_images: int, n_classes: int):
        self._n_images, self._n_classes = n_images, n_classes

    def __len__(self) -> int:
        return self._n_images

    def __getitem__(self, index: int):
        return torch.full((3, 1, 1), float(index)), index % self._n_classes


class StandInModel(nn.Module):
    """Feature maps that are drawn and not seen."""

    def __init__(self, n_features: int):
        super().__init__()
        self.backbone = SimpleNamespace(n_features=n_features)

    def forward(self, images) -> ModelOutput:
        """Uniform maps; no logits."""
        maps = torch.rand(len(images), self.backbone.n_features, MAP_SIDE, MAP_SIDE)
        return ModelOutput(maps[:, :0, 0, 0], maps.mean(dim=(2, 3)), maps)


def extraction(folder: Path, n_images: int, n_features: int, n_classes: int) -> None:
    """What stage 2 begins with."""
    images, hardware = StandInImages(n_images, n_classes), Hardware.choose("cpu", 0)
    model: Any = StandInModel(n_features)
    found: dict[str, Any] = extract_dense_features(model, images, hardware, folder / POOLED_FILE)
    np.savez(folder / STATISTICS_FILE, **found)


def constants(folder: Path, *_) -> None:
    """A, R, means and standard deviations."""
    features = DenseFeatures.load(folder / POOLED_FILE, folder / STATISTICS_FILE)
    feature_redundancy(class_feature_correlation(features.pooled, features.labels))
    feature_moments(features.pooled)


def dense_metrics(folder: Path, n_images: int, n_features: int, n_classes: int) -> None:
    """The metrics over all training images; contrastiveness works feature by feature, here on 32 of them."""
    features = DenseFeatures.load(folder / POOLED_FILE, folder / STATISTICS_FILE)
    metrics.class_independence(features.pooled, features.labels, n_classes)
    metrics.feature_correlation(features.pooled)
    metrics.contrastiveness(features.pooled[:, :32])


def sparse_linear_model(folder: Path, *_) -> None:
    """The features that Q-SENN and SLDD-Model choose; each takes some passes over the file, so here only three."""
    features = DenseFeatures.load(folder / POOLED_FILE, folder / STATISTICS_FILE)
    choose_features(features.pooled, features.labels, 3)


TASKS = {
    "extraction": extraction,
    "constants": constants,
    "metrics": dense_metrics,
    "sparse model": sparse_linear_model,
}


def line(name: str, *size) -> str:
    """One line of the table: seconds and peak memory above that of the loaded libraries."""
    run = measured(TASKS[name], *size)
    return f"{name:12}{size[1]:>10}{run.seconds:10.1f} s{run.mebibytes:10.0f} MiB"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 80_000])
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--folder", help="where the features are written (default: temporary)")
    asked = parser.parse_args()
    print(f"{asked.features} features, {asked.classes} classes, {torch.get_num_threads()} threads")
    print(f"{'':12}{'images':>10}{'time':>12}{'peak memory':>14}")
    for n_images in asked.images:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            for name in TASKS:
                size = (Path(folder), n_images, asked.features, asked.classes)
                print(in_own_process(line, name, *size), flush=True)
            gibibytes = 4 * n_images * asked.features / 2**30
            print(f"{'file':12}{n_images:>10}{gibibytes:24.2f} GiB")


if __name__ == "__main__":
    main()
