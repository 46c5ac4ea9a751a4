"""Time and peak memory at the size of ImageNet: what reads the training features, and prediction sets.

A network that only draws features is extracted; the constants of the quadratic program, the dense model's metrics and
the choice of features by a sparse linear model then read the file that this wrote. Every row has a process of its own.
Memory is what the process has allocated (anonymous pages); pages of the mapped file are left out, since the system
takes those back whenever it needs them.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from architectures.classifier import ModelOutput
from architectures.inference import FeatureTable
from benchmarks.coverage import simulated
from benchmarks.table import Case, Row, comparison
from configs.hardware import Hardware
from configs.runs import POOLED_FILE, STATISTICS_FILE
from conformal import METHODS
from evaluation import metrics
from sparsification.constants import class_feature_correlation, feature_moments, feature_redundancy
from sparsification.features import DenseFeatures, extract_dense_features
from sparsification.glm import choose_features


class DrawnFeatures(nn.Module):
    """A network whose feature maps of one cell are drawn and not seen."""

    def __init__(self, n_features: int):
        super().__init__()
        self.backbone = SimpleNamespace(n_features=n_features, pooling="mean")

    def forward(self, images) -> ModelOutput:
        """Uniform maps; no logits."""
        maps = torch.rand(len(images), self.backbone.n_features, 1, 1)
        return ModelOutput(maps[:, :0, 0, 0], maps.mean(dim=(2, 3)), maps)


def extraction(folder: Path, images: int, features: int, classes: int):
    """What stage 2 begins with; leaves the file that is read by the others."""
    model: Any = DrawnFeatures(features)
    table = TensorDataset(torch.zeros(1).expand(images, 3, 1, 1), torch.arange(images) % classes)
    hardware, file = Hardware.choose("cpu", 0), folder / POOLED_FILE

    def extract() -> None:
        found: dict[str, Any] = extract_dense_features(model, table, hardware, file)
        np.savez(folder / STATISTICS_FILE, **found)

    return extract, None


def constants(features: DenseFeatures) -> None:
    """A, R, means and standard deviations."""
    feature_redundancy(class_feature_correlation(features.pooled, features.labels))
    feature_moments(features.pooled)


def dense_metrics(features: DenseFeatures) -> None:
    """The metrics over all training images; contrastiveness works feature by feature, here on 32 of them."""
    metrics.class_independence(features.pooled, features.labels, int(features.labels.max()) + 1)
    metrics.feature_correlation(features.pooled)
    metrics.contrastiveness(features.pooled[:, :32])


def sparse_linear_model(features: DenseFeatures) -> None:
    """The features that Q-SENN and SLDD-Model choose; each takes some passes over the file, so here only three."""
    choose_features(features.pooled, features.labels, 3)


def prediction_sets(method: int, weight: torch.Tensor, table: FeatureTable) -> None:
    """A method of prediction sets calibrates on a fifth of the images and predicts the sets of all."""
    some, predictor = table[: len(table) // 5], METHODS[method].make(weight, 0)
    predictor.calibrate(some.features, some.logits, some.labels)
    predictor.predict(table.features, table.logits, 0.9)


def sparse_metrics(weight: torch.Tensor, table: FeatureTable) -> None:
    """Every metric that needs no images."""
    similarity = torch.rand(len(weight), len(weight))
    metrics.class_independence(table.features, table.labels, len(weight))
    metrics.feature_correlation(table.features)
    metrics.contrastiveness(table.features)
    metrics.structural_grounding(weight, similarity)
    metrics.dependence(table.features, table.logits, weight)
    metrics.set_coherence(table.logits > table.logits.median(), similarity)


def reading(work: Callable, folder: Path, images: int):
    """Works on the features that `extraction` left."""
    features = partial(DenseFeatures.load, folder / POOLED_FILE, folder / STATISTICS_FILE)
    return lambda: work(features()), None


def on_table(work: Callable, images: int, classes: int):
    """Works on the outputs of a sparse model."""
    return partial(work, *simulated(images, classes)), None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes."""
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 80_000])
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--folder", help="where the features are written (default: temporary)")


def tables(asked: argparse.Namespace) -> Iterator[str]:
    """All tasks at all numbers of images."""
    yield f"{asked.features} features, {asked.classes} classes"
    for images in asked.images:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            yield comparison(rows(Path(folder), images, asked.features, asked.classes))


def rows(folder: Path, images: int, features: int, classes: int) -> list[Row]:
    """All tasks at one number of images."""
    file, table = {"folder": folder, "images": images}, {"images": images, "classes": classes}
    tasks: dict[str, tuple[Case, dict]] = {
        "extraction": (extraction, file | table | {"features": features}),
        "constants": (reading, file | {"work": constants}),
        "metrics of the dense model": (reading, file | {"work": dense_metrics}),
        "sparse linear model": (reading, file | {"work": sparse_linear_model}),
        "metrics of the sparse model": (on_table, table | {"work": sparse_metrics}),
    }
    for index, method in enumerate(METHODS):
        tasks[method.name] = on_table, table | {"work": partial(prediction_sets, index)}
    return [Row(f"{name}, {images} images", *task) for name, task in tasks.items()]
