"""Sparse linear paths at the size of CUB2011, and some points of one against glm-saga."""

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.table import Row, comparison
from sparsification.glm import choose_features, regularisation_path
from sparsification.glm.datafit import CrossEntropy
from sparsification.glm.path import PATH_ALPHA, SOLVERS
from sparsification.glm.penalty import ElasticNet

N_ATTRIBUTES = 128  # in which classes differ; a backbone has many features for each
PENALTY = ElasticNet(PATH_ALPHA)


def generated_features(n_features: int, n_samples: int, n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Non-negative features `[N, n_features]`, each dominated by one attribute, and labels `[N]`."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n_samples) % n_classes
    class_attributes = 2.0 * (torch.rand(n_classes, N_ATTRIBUTES, generator=generator) < 0.15)
    noise = torch.randn(n_samples, N_ATTRIBUTES, generator=generator)
    attributes = class_attributes[labels] + noise
    leading = torch.eye(N_ATTRIBUTES)[torch.arange(n_features) % N_ATTRIBUTES].T
    mixing = leading + 0.1 * torch.randn(N_ATTRIBUTES, n_features, generator=generator)
    noise = torch.randn(n_samples, n_features, generator=generator)
    return torch.relu(attributes @ mixing + 0.5 * noise), labels


def strengths(images: int, features: int, classes: int, points: int, decades: int):
    """Objectives at strengths that fall by some powers of ten, each point starting from the one before."""
    datafit = CrossEntropy(*generated_features(features, images, classes))
    _, gradient = datafit.value_and_gradient(datafit.start())
    largest = float(PENALTY.smallest_empty_strength(gradient))

    def descend(solver: str) -> list[float]:
        minimise, layer, objectives = SOLVERS[solver]().minimise, datafit.start(), []
        for point in range(1, points + 1):
            strength = largest * 10 ** (-decades * point / points)
            layer = minimise(datafit, PENALTY, strength, layer)
            loss, _ = datafit.value_and_gradient(layer)
            objectives.append(loss + PENALTY.value(layer, strength))
        return objectives

    return lambda: descend("newton"), lambda: descend("glm_saga")


def on_features(work, images: int, features: int, classes: int, **options):
    """`work` on features and labels."""
    return partial(work, *generated_features(features, images, classes), **options), None


# fmt: off
SIZE = {"images": 5000, "features": 50, "classes": 200}
ROWS = (
    Row("Path of 100 points: {images} images, {features} features, {classes} classes",
        partial(on_features, regularisation_path), SIZE),
    Row("Choice of {n_features} of {features} features", partial(on_features, choose_features),
        SIZE | {"features": 2048, "n_features": 50}),
    Row("{points} points of the path, objectives", strengths, SIZE | {"points": 10, "decades": 3},
        "glm-saga", shows="{:.5f}"),
)
# fmt: on


def tables() -> Iterator[str]:
    """Time of the whole path and of the choice of features, and some points of the path against glm-saga."""
    yield comparison(ROWS)
