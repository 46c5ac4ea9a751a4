"""Feature selection: the figure and tables of docs/selection.md.

Most instances are those of the tests. Solvers that are not installed, or not licensed for the size, are named and left
out.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.table import duration, markdown
from configs.errors import RunError, UsageError
from sparsification.constants import feature_redundancy
from sparsification.qpm import SelectionProblem, solve

INSTANCES = Path(__file__).parent.parent / "tests" / "qp_instances"
LARGE = (
    "large_qpm_512x196",
    "large_qpm_stanford_cars_resnet18",
    "large_cars_64px_resnet18",  # our own dense model on StanfordCars (docs/earlier_results.md)
)
RULES: dict[str, dict] = {
    "no rule on pairs": {},
    "any pairs": {"rho": 0.5},
    "named pairs": {"rho": 0.5, "pairs": "named"},
}


def problem_of(correlation: np.ndarray, bias: np.ndarray, **settings) -> SelectionProblem:
    """The problem of A and b, with its own threshold."""
    redundancy = feature_redundancy(torch.from_numpy(correlation))
    return SelectionProblem(correlation, redundancy, bias, **settings)


def load(name: str, **settings) -> SelectionProblem:
    """The problem of an instance file."""
    with np.load(INSTANCES / f"{name}.npz") as case:
        numbers = {"n_features": case["n"], "n_per_class": case["k"]}
        return problem_of(case["A"].astype(np.float64), case["b"], **numbers, **settings)


def excerpt(n_pool: int = 64, n_classes: int = 16) -> SelectionProblem:
    """A part of a large instance; by default one that also fits the free Gurobi licence."""
    full = load(LARGE[0])
    correlation, bias = full.correlation[:n_pool, :n_classes], full.bias[:n_pool]
    return problem_of(correlation, bias, n_features=12, n_per_class=3)


def synthetic(n_pool: int, n_classes: int, **settings) -> SelectionProblem:
    """A larger problem: features respond to some directions of a latent space of classes."""
    rng = np.random.default_rng(0)
    classes, directions = rng.normal(size=(n_classes, 20)), rng.normal(size=(n_pool, 20))
    response = directions @ classes.T / np.sqrt(20) + 0.5 * rng.normal(size=(n_pool, n_classes))
    activity = np.maximum(response - 0.8, 0.0) + 0.02 * rng.normal(size=response.shape)
    correlation = activity - activity.mean(axis=1, keepdims=True)
    largest = np.abs(correlation).max(axis=1, keepdims=True)
    correlation *= rng.uniform(0.5, 1.0, (n_pool, 1)) / largest
    bias = 0.08 * rng.normal(size=n_pool)
    return problem_of(correlation, bias, n_features=50, n_per_class=5, **settings)


PROBLEMS = {name: partial(load, name) for name in LARGE} | {"synthetic 2048x200": partial(synthetic, 2048, 200)}


def proven(features: int, classes: int, seconds: float):
    """A problem small enough for the optimum to be proven, by our search and by a general solver."""
    problem = excerpt(features, classes)
    return (lambda: solve(problem).objective, lambda: solve(problem, "highs", time_limit=seconds).objective)


def certified(instance: str, bound_seconds: float):
    """A whole selection, threshold and upper bound included; general solvers are much slower (docs/selection.md)."""
    problem = load(instance, **RULES["named pairs"])
    return lambda: 100 * solve(problem, certificate=bound_seconds).gap, None


def tables(*, seconds: float = 60.0, certificate: float = 60.0, seeds: int = 3, figure: str = "") -> Iterator[str]:
    """Objectives, gaps and thresholds under every rule on pairs of classes; draws the figure if asked.

    Args:
        seconds: time limit of every search.
        certificate: seconds for the bound.
        seeds: searches of every problem.
        figure: file for objective against time of every solver that runs here.
    """
    for rule in RULES:
        header = f"{rule}, best|worst of {seeds} seeds|time|upper bound|gap|most similar pairs kept|threshold"
        rows = [quality_row(name, rule, seconds, certificate, seeds) for name in PROBLEMS]
        yield markdown(["instance", *header.split("|")], rows)
    if figure:
        draw(figure, seconds)


def quality_row(name: str, rule: str, limit: float, certificate: float, seeds: int) -> list[str]:
    """Objectives and time over seeds, the bound after the last of them, and the gap of the best to it."""
    problem = PROBLEMS[name](**RULES[rule])
    runs = [solve(problem, "auto", limit, seed, certificate=certificate * (seed == seeds - 1)) for seed in range(seeds)]
    best, bound = max(runs, key=lambda run: run.objective), runs[-1].upper_bound
    return [
        name,
        f"{best.objective:.3f}",
        f"{min(run.objective for run in runs):.3f}",
        duration(float(np.mean([run.seconds for run in runs]))),
        f"{bound:.3f}",
        f"{bound / best.objective - 1:.2%}",
        f"{problem.count_named_pairs(best.weight)} of {len(problem.named_pairs)}",
        f"{problem.threshold:.4f}",
    ]


def draw(path: str, limit: float) -> None:
    """Draw objective against time of every solver that runs here."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axes, problem in zip(panels, (excerpt(), load(LARGE[0])), strict=True):
        for solver in ("search", "gurobi", "highs"):
            steps = trace(problem, solver, limit)
            elapsed, values = np.array(steps).reshape(-1, 2).T
            label = solver if steps else f"{solver}: no result in {limit:.0f} s"
            axes.step(elapsed.clip(min=0.005), values, where="post", label=label, alpha=0.7)
        features, classes = problem.correlation.shape
        chosen = f"choose {problem.n_features} / {problem.n_per_class}"
        axes.set_title(f"{features} features, {classes} classes, {chosen}")
        axes.set(xscale="log", xlabel="seconds", ylabel="objective")
        axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def trace(problem: SelectionProblem, solver: str, limit: float) -> list[tuple[float, float]]:
    """Seconds and objective at every improvement; empty if a solver is not installed, not licensed or too slow."""
    steps: list[tuple[float, float]] = []
    try:
        found = solve(problem, solver, limit, on_improvement=lambda *step: steps.append(step))
    except (UsageError, RunError):
        return []
    return [*steps, (max(found.seconds, steps[-1][0]), found.objective)]
