"""Time and peak memory at the size of ImageNet: what reads the training features, and prediction sets.

Extraction runs on generated stand-in features (a network that only draws them); the constants of the quadratic program,
the dense model's metrics and the choice of features by a sparse linear model then read the file that it wrote. Every
row is measured in a process of its own. Memory is what the process has allocated (anonymous pages); pages of the
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
from benchmarks.evaluation import all_metrics, random_table
from benchmarks.measuring import Measurement, in_own_process, measured
from benchmarks.table import markdown, memory, seconds
from configs.hardware import Hardware
from configs.runs import POOLED_FILE, STATISTICS_FILE
from conformal import METHODS
from evaluation import metrics
from sparsification.constants import class_feature_correlation, feature_moments, feature_redundancy
from sparsification.features import DenseFeatures, extract_dense_features
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
        self.backbone = SimpleNamespace(n_features=n_features, pooling="mean")

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


def extracted(folder: Path) -> DenseFeatures:
    """The features that `extraction` left."""
    return DenseFeatures.load(folder / POOLED_FILE, folder / STATISTICS_FILE)


def constants(folder: Path, *_) -> None:
    """A, R, means and standard deviations."""
    features = extracted(folder)
    feature_redundancy(class_feature_correlation(features.pooled, features.labels))
    feature_moments(features.pooled)


def dense_metrics(folder: Path, n_images: int, n_features: int, n_classes: int) -> None:
    """The metrics over all training images; contrastiveness works feature by feature, here on 32 of them."""
    features = extracted(folder)
    metrics.class_independence(features.pooled, features.labels, n_classes)
    metrics.feature_correlation(features.pooled)
    metrics.contrastiveness(features.pooled[:, :32])


def sparse_linear_model(folder: Path, *_) -> None:
    """The features that Q-SENN and SLDD-Model choose; each takes some passes over the file, so here only three."""
    features = extracted(folder)
    choose_features(features.pooled, features.labels, 3)


FEATURE_TASKS = {
    "extraction": extraction,
    "constants": constants,
    "metrics of the dense model": dense_metrics,
    "sparse linear model": sparse_linear_model,
}
METHOD_BY_NAME = {method.name: method for method in METHODS}
TASKS = (*FEATURE_TASKS, *METHOD_BY_NAME, "metrics of the sparse model")


def task(name: str, folder: Path, n_images: int, n_features: int, n_classes: int) -> Measurement:
    """One of `TASKS`; a method calibrates on a fifth of the images and predicts the sets of all."""
    if name in FEATURE_TASKS:
        return measured(FEATURE_TASKS[name], folder, n_images, n_features, n_classes)
    table = random_table(n_images, n_classes)
    if name not in METHOD_BY_NAME:
        return measured(all_metrics, *table)
    weight, features, logits, labels = table

    def predict() -> None:
        predictor = METHOD_BY_NAME[name].make(weight, 0)
        predictor.calibrate(*(x[: n_images // 5] for x in (features, logits, labels)))
        predictor.predict(features, logits, 0.9)

    return measured(predict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes."""
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 80_000])
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--folder", help="where the features are written (default: temporary)")


def report(asked: argparse.Namespace) -> None:
    """Print the table."""
    rows = []
    for n_images in asked.images:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            for name in TASKS:
                size = (Path(folder), n_images, asked.features, asked.classes)
                run = in_own_process(task, name, *size)
                rows.append([name, str(n_images), seconds(run.seconds), memory(run)])
    print(f"{asked.features} features, {asked.classes} classes, {torch.get_num_threads()} threads")
    print(markdown(["", "images", "time", "peak memory"], rows))
