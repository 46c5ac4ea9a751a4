"""Sparse linear paths: our solver against glm-saga, in one run on the same strengths.

    python -m benchmarks.glm_path               # ten minutes or more, nearly all of it glm-saga
    python -m benchmarks.glm_path --points 0    # ours only, a minute or two

Prints the seconds of ours for the whole path and for choosing 50 of 2048 features; then, at points
spread over the path and each solver warm from its own last point, both objectives and seconds.
"""

import argparse
import os
from contextlib import contextmanager

import torch

from benchmarks.measuring import Measurement, measured
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


def compare(features: torch.Tensor, labels: torch.Tensor, lambdas: torch.Tensor) -> None:
    """Print a line per strength with both solvers' objectives and seconds, and the totals."""
    datafit = CrossEntropy(features, labels)
    names = ("newton", "glm_saga")
    solvers = {name: SOLVERS[name]() for name in names}
    layers = {name: datafit.start() for name in names}
    seconds = {name: torch.zeros(2) for name in names}  # clock, processor
    print(
        f"{'lambda':>10} {'non-zeros':>10} {'ours':>12} {'glm-saga':>12} {'ours s':>8} {'saga s':>8}"
    )
    for strength in lambdas.tolist():
        objectives, clocks = [], []
        for name in names:
            run = measured(solvers[name].minimise, datafit, PENALTY, strength, layers[name])
            layers[name] = run.result
            objectives.append(objective(datafit, layers[name], strength))
            clocks.append(run.seconds)
            seconds[name] += torch.tensor([run.seconds, run.processor_seconds])
        line = f"{objectives[0]:12.8f} {objectives[1]:12.8f} {clocks[0]:8.2f} {clocks[1]:8.1f}"
        count = (layers["newton"][:, :-1] != 0).sum()
        print(f"{strength:10.3g} {count:10d} {line}", flush=True)
    for name in names:
        clock, processor = seconds[name]
        print(f"{name}: {clock:.1f} s ({processor:.1f} s of processor) for {len(lambdas)} points")
    clock, processor = seconds["glm_saga"] / seconds["newton"]
    print(f"ours is {clock:.0f} times faster ({processor:.0f} times in processor seconds)")


def main() -> None:
    """Run all three measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10, help="points for glm-saga (default 10)")
    points = parser.parse_args().points
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} at the start")

    features, labels = pooled_features(N_FEATURES)
    path = measured(regularisation_path, features, labels)
    print(f"100-point path: {both_clocks(path)}", flush=True)

    wide, labels = pooled_features(N_BACKBONE_FEATURES)
    choice = measured(choose_features, wide, labels, N_FEATURES)
    print(f"{N_FEATURES} of {wide.shape[1]} features: {both_clocks(choice)}", flush=True)

    if points:
        lambdas = path.result.lambdas
        spread = torch.linspace(0, len(lambdas) - 1, points + 1).long()[1:]
        compare(features, labels, lambdas[spread])


def both_clocks(run: Measurement) -> str:
    """Seconds on the clock and of the processor."""
    return f"{run.seconds:.1f} s ({run.processor_seconds:.1f} s of processor)"


if __name__ == "__main__":
    main()
