"""Sparse linear paths at the size of CUB2011, and single points against glm-saga."""

import argparse
from contextlib import contextmanager

import torch

from benchmarks.measuring import measured
from benchmarks.table import markdown, memory, seconds
from sparsification.glm import choose_features, regularisation_path
from sparsification.glm.datafit import CrossEntropy
from sparsification.glm.path import PATH_ALPHA, SOLVERS
from sparsification.glm.penalty import ElasticNet

N_SAMPLES, N_CLASSES, N_FEATURES, N_BACKBONE_FEATURES = 5000, 200, 50, 2048
N_ATTRIBUTES = 128  # what classes differ in; a backbone has many features for one attribute
PENALTY = ElasticNet(PATH_ALPHA)


def pooled_features(
    n_features: int, n_samples: int = N_SAMPLES, n_classes: int = N_CLASSES
) -> tuple[torch.Tensor, torch.Tensor]:
    """Non-negative features `[N, n_features]`, each led by one attribute, and labels `[N]`."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n_samples) % n_classes
    class_attributes = 2.0 * (torch.rand(n_classes, N_ATTRIBUTES, generator=generator) < 0.15)
    noise = torch.randn(n_samples, N_ATTRIBUTES, generator=generator)
    attributes = class_attributes[labels] + noise
    leading = torch.eye(N_ATTRIBUTES)[torch.arange(n_features) % N_ATTRIBUTES].T
    mixing = leading + 0.1 * torch.randn(N_ATTRIBUTES, n_features, generator=generator)
    noise = torch.randn(n_samples, n_features, generator=generator)
    return torch.relu(attributes @ mixing + 0.5 * noise), labels


@contextmanager
def strengths(images: int, features: int, classes: int, points: int):
    """A few strengths, each a tenth of the one before, warm from point to point; the last objective is returned."""
    datafit = CrossEntropy(*pooled_features(features, images, classes))
    _, gradient = datafit.value_and_gradient(datafit.start())
    largest = PENALTY.smallest_empty_strength(gradient)
    falling = [float(largest) * 0.1**point for point in range(1, points + 1)]

    def descend(solver: str) -> float:
        minimise, layer = SOLVERS[solver]().minimise, datafit.start()
        for strength in falling:
            layer = minimise(datafit, PENALTY, strength, layer)
        return objective(datafit, layer, falling[-1])

    yield lambda: descend("newton"), lambda: descend("glm_saga")


def objective(datafit: CrossEntropy, layer: torch.Tensor, strength: float) -> float:
    """What both solvers minimise."""
    loss, _ = datafit.value_and_gradient(layer)
    return loss + PENALTY.value(layer, strength)


def at_points(features: torch.Tensor, labels: torch.Tensor, lambdas: torch.Tensor) -> list:
    """Non-zeros, and both solvers' objectives and times, at some strengths; each warm from its own last one."""
    datafit, names = CrossEntropy(features, labels), ("newton", "glm_saga")
    solvers = {name: SOLVERS[name]() for name in names}
    layers = {name: datafit.start() for name in names}
    rows = []
    for strength in lambdas.tolist():
        runs = {
            name: measured(solver.minimise, datafit, PENALTY, strength, layers[name])
            for name, solver in solvers.items()
        }
        layers = {name: run.result for name, run in runs.items()}
        objectives = [f"{objective(datafit, layers[name], strength):.5f}" for name in names]
        count = int((layers["newton"][:, :-1] != 0).sum())
        times = [seconds(runs[name].seconds) for name in names]
        rows.append([f"{strength:.2e}", str(count), *objectives, *times])
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much of the time is glm-saga's."""
    parser.add_argument("--points", type=int, default=10, help="compared with glm-saga; 0: none")


def report(asked: argparse.Namespace) -> None:
    """Print what the whole path and the choice of features take, and points of the path against glm-saga."""
    features, labels = pooled_features(N_FEATURES)
    path = measured(regularisation_path, features, labels)
    choice = measured(choose_features, *pooled_features(N_BACKBONE_FEATURES), N_FEATURES)
    rows = [
        [name, seconds(run.seconds), seconds(run.processor_seconds), memory(run)]
        for name, run in (
            ("path of 100 points, 50 features", path),
            (f"choice of {N_FEATURES} of {N_BACKBONE_FEATURES} features", choice),
        )
    ]
    print(f"{N_SAMPLES} images, {N_CLASSES} classes, {torch.get_num_threads()} threads")
    print(markdown(["", "time", "of the processor", "peak memory"], rows))
    lambdas = path.result.lambdas
    spread = torch.linspace(0, len(lambdas) - 1, asked.points + 1).long()[1:]
    header = ["lambda", "non-zeros", "ours", "glm-saga", "time of ours", "of glm-saga"]
    print(markdown(header, at_points(features, labels, lambdas[spread])))
