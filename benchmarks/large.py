"""Time and peak memory at the size of ImageNet: all steps that read the training features, and prediction sets.

Features are extracted from a network that draws them at random. The constants of the quadratic program, the dense
model's metrics and the choice of features by a sparse linear model then read this file.
"""

import tempfile
from collections.abc import Iterator
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
from configs.run_files import POOLED_FILE, STATISTICS_FILE
from conformal import METHODS
from evaluation import metrics
from sparsification.constants import class_feature_correlation, feature_moments, feature_redundancy
from sparsification.features import DenseFeatures, extract_dense_features
from sparsification.glm import choose_features


class DrawnFeatures(nn.Module):
    """A network whose feature maps, of one cell, are random."""

    def __init__(self, n_features: int):
        super().__init__()
        self.backbone = SimpleNamespace(n_features=n_features, pooling="mean")

    def forward(self, images) -> ModelOutput:
        """Uniform maps; no logits."""
        maps = torch.rand(len(images), self.backbone.n_features, 1, 1)
        return ModelOutput(maps[:, :0, 0, 0], maps.mean(dim=(2, 3)), maps)


def extraction(folder: Path, images: int, features: int, classes: int):
    """The extraction at the beginning of stage 2; the other tasks read its file."""
    model: Any = DrawnFeatures(features)
    table = TensorDataset(torch.zeros(1).expand(images, 3, 1, 1), torch.arange(images) % classes)
    hardware, file = Hardware.choose("cpu", 0), folder / POOLED_FILE

    def extract() -> None:
        found: dict[str, Any] = extract_dense_features(model, table, hardware, file)
        np.savez(folder / STATISTICS_FILE, **found)

    return extract, None


def reading(work, folder: Path, images: int, features: int, classes: int):
    """`work(pooled features, labels, number of classes)` on the file of `extraction`."""

    def read_and_work() -> None:
        found = DenseFeatures.load(folder / POOLED_FILE, folder / STATISTICS_FILE)
        work(found.pooled, found.labels, classes)

    return read_and_work, None


def constants(pooled, labels, classes: int) -> None:
    """A, R, means and standard deviations."""
    feature_redundancy(class_feature_correlation(pooled, labels))
    feature_moments(pooled)


def dense_metrics(pooled, labels, classes: int) -> None:
    """The metrics over all training images; contrastiveness, which works feature by feature, on 32 of them."""
    metrics.class_independence(pooled, labels, classes)
    metrics.feature_correlation(pooled)
    metrics.contrastiveness(pooled[:, :32])


def sparse_linear_model(pooled, labels, classes: int) -> None:
    """The features that Q-SENN and SLDD choose, only three: each takes several passes over the file."""
    choose_features(pooled, labels, 3)


def simulating(work, folder: Path, images: int, features: int, classes: int):
    """`work(weight, feature table)` on the outputs of a sparse model."""
    return partial(work, *simulated(images, classes)), None


def sparse_metrics(weight, table: FeatureTable) -> None:
    """Every metric that needs no images."""
    similarity = torch.rand(len(weight), len(weight))
    metrics.class_independence(table.features, table.labels, len(weight))
    metrics.feature_correlation(table.features)
    metrics.contrastiveness(table.features)
    metrics.structural_grounding(weight, similarity)
    metrics.dependence(table.features, table.logits, weight)
    metrics.set_coherence(table.logits > table.logits.median(), similarity)


def prediction_sets(weight, table: FeatureTable, method: int) -> None:
    """A method of prediction sets calibrates on a fifth of the images and predicts the sets of all."""
    some, predictor = table[: len(table) // 5], METHODS[method].make(weight, 0)
    predictor.calibrate(some.features, some.logits, some.labels)
    predictor.predict(table.features, table.logits, 0.9)


TASKS: dict[str, Case] = {
    "extraction": extraction,
    "constants": partial(reading, constants),
    "metrics of the dense model": partial(reading, dense_metrics),
    "sparse linear model": partial(reading, sparse_linear_model),
    "metrics of the sparse model": partial(simulating, sparse_metrics),
    **{
        method.name: partial(simulating, partial(prediction_sets, method=index)) for index, method in enumerate(METHODS)
    },
}


def tables(*, images: tuple[int, ...] = (20_000, 80_000), features: int = 2048, classes: int = 1000) -> Iterator[str]:
    """All tasks at all numbers of images.

    Args:
        images: numbers of images.
        features: of the network.
        classes: of the images.
    """
    yield f"{features} features, {classes} classes"
    for number in images:
        with tempfile.TemporaryDirectory() as folder:
            sizes = dict(folder=Path(folder), images=number, features=features, classes=classes)
            yield comparison([Row(f"{name}, {number} images", task, sizes) for name, task in TASKS.items()])
