"""Feature selection measured: the figures and tables of docs/selection.md.

Everything runs on the instances kept with the tests. Solvers that are not installed or not licensed
for the size are named and left out.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measuring import measured
from benchmarks.table import markdown, seconds
from configs.errors import RunError, UsageError
from sparsification.qpm import SelectionProblem, solve

INSTANCES = Path(__file__).parent.parent / "tests" / "qp_instances"
LARGE = (
    "large_qpm_512x196",
    "large_qpm_stanford_cars_resnet18",
    "large_cars_64px_resnet18",  # our own dense model on StanfordCars (docs/earlier_results.md)
)
COLOURS = {"search": "tab:blue", "gurobi": "tab:red", "highs": "tab:green"}
RULES: dict[str, dict] = {
    "no rule on pairs": {},
    "any pairs": {"rho": 0.5},
    "named pairs": {"rho": 0.5, "pairs": "named"},
}


def load(name: str, **settings) -> SelectionProblem:
    """The problem of an instance file; the redundancy is the cosine of the rows of A."""
    with np.load(INSTANCES / f"{name}.npz") as case:
        return cosine_problem(
            case["A"].astype(np.float64),
            case["b"],
            n_features=int(case["n"]),
            n_per_class=int(case["k"]),
            **({"threshold": float(case["threshold"])} | settings),
        )


def cosine_problem(correlation: np.ndarray, bias: np.ndarray, **settings) -> SelectionProblem:
    """Problem whose redundancy is the cosine of the rows of A, negatives set to 0."""
    rows = correlation / np.linalg.norm(correlation, axis=1, keepdims=True)
    return SelectionProblem(correlation, (rows @ rows.T).clip(min=0.0), bias, **settings)


def excerpt(n_pool: int = 64, n_classes: int = 16) -> SelectionProblem:
    """A part of a large instance; by default one that also fits the free Gurobi licence."""
    full = load(LARGE[0])
    correlation, bias = full.correlation[:n_pool, :n_classes], full.bias[:n_pool]
    return cosine_problem(correlation, bias, n_features=12, n_per_class=3)


def synthetic(n_pool: int, n_classes: int, **settings) -> SelectionProblem:
    """A larger problem: features respond to some directions of a latent space of classes."""
    rng = np.random.default_rng(0)
    classes, directions = rng.normal(size=(n_classes, 20)), rng.normal(size=(n_pool, 20))
    response = directions @ classes.T / np.sqrt(20) + 0.5 * rng.normal(size=(n_pool, n_classes))
    activity = np.maximum(response - 0.8, 0.0) + 0.02 * rng.normal(size=response.shape)
    correlation = activity - activity.mean(axis=1, keepdims=True)
    correlation *= rng.uniform(0.5, 1.0, (n_pool, 1)) / np.abs(correlation).max(
        axis=1, keepdims=True
    )
    bias = 0.08 * rng.normal(size=n_pool)
    return cosine_problem(correlation, bias, n_features=50, n_per_class=5, **settings)


# The largest has no threshold of its own: the problem finds it.
PROBLEMS = {name: partial(load, name) for name in LARGE} | {
    "synthetic 2048x200": partial(synthetic, 2048, 200)
}


def proven(features: int, classes: int, seconds: float):
    """A problem small enough for the optimum to be proven, by our search and by a general solver."""
    problem = excerpt(features, classes)
    return (
        lambda: solve(problem).objective,
        lambda: solve(problem, "highs", time_limit=seconds).objective,
    )


def certified(instance: str, bound_seconds: float):
    """A whole selection, threshold and upper bound included; general solvers do not come near (docs/selection.md)."""
    problem = load(instance, threshold=None, **RULES["named pairs"])
    return lambda: 100 * solve(problem, certificate=bound_seconds).gap, None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Times."""
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of every run")
    parser.add_argument("--certificate", type=float, default=60.0, help="seconds for the bound")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every problem")
    parser.add_argument("--figure", help="also draw objective against time into this file")


def tables(asked: argparse.Namespace) -> Iterator[str]:
    """Thresholds, and objectives and gaps under every rule on pairs of classes; draws the figure if asked."""
    found = [threshold_row(name) for name in PROBLEMS]
    yield markdown(["instance", "threshold", "time"], found)
    for rule in RULES:
        rows = [quality_row(name, rule, asked) for name in PROBLEMS]
        header = f"{rule}, best|worst of {asked.seeds} seeds|time|upper bound|gap|most similar pairs kept"
        yield markdown(["instance", *header.split("|")], rows)
    if asked.figure:
        draw(asked.figure, asked.seconds, asked.seeds)


def threshold_row(name: str) -> list[str]:
    """The threshold and the time to it."""
    problem = PROBLEMS[name](threshold=None)
    run = measured(lambda: problem.threshold)
    return [name, f"{run.result:.4f}", seconds(run.seconds)]


def quality_row(name: str, rule: str, asked: argparse.Namespace) -> list[str]:
    """Objectives and time over seeds, the bound after the last of them, and the gap of the best to it."""
    problem = PROBLEMS[name](**RULES[rule])
    runs = [
        solve(
            problem,
            time_limit=asked.seconds,
            seed=seed,
            certificate=asked.certificate * (seed == asked.seeds - 1),
        )
        for seed in range(asked.seeds)
    ]
    best, bound = max(runs, key=lambda run: run.objective), runs[-1].upper_bound
    return [
        name,
        f"{best.objective:.3f}",
        f"{min(run.objective for run in runs):.3f}",
        seconds(float(np.mean([run.seconds for run in runs]))),
        f"{bound:.3f}",
        f"{bound / best.objective - 1:.2%}",
        f"{problem.count_named_pairs(best.weight)} of {len(problem.named_pairs)}",
    ]


def draw(figure_path: str, limit: float, seeds: int) -> None:
    """Draw objective against time of every solver that runs here."""
    from matplotlib import pyplot as plt

    figure, (small, large) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    draw_traces(small, excerpt(), {"search": 1, "gurobi": 1, "highs": 1}, limit)
    small.set_title("64 features, 16 classes, choose 12 / 3")
    draw_traces(large, load(LARGE[0]), {"search": seeds, "highs": 1}, limit)
    large.set_title("512 features, 196 classes, choose 50 / 5")
    figure.savefig(figure_path, dpi=120)


def draw_traces(axes, problem: SelectionProblem, seeds: dict[str, int], limit: float) -> None:
    """Draw the objective against time of some solvers, with as many seeds of each as asked for."""
    for solver, seed in [(solver, seed) for solver, n in seeds.items() for seed in range(n)]:
        colour = COLOURS[solver]
        steps: list[tuple[float, float]] = []
        try:
            found = solve(
                problem, solver, limit, seed, on_improvement=lambda *step, to=steps: to.append(step)
            )
        except (UsageError, RunError):  # not here, not licensed for the size, or too slow
            axes.plot([], [], color=colour, label=f"{solver}: nothing in {limit:.0f} s")
            continue
        end = max(found.seconds, steps[-1][0]), found.objective
        elapsed, values = np.array([*steps, end]).T
        label = solver if seed == 0 else None
        axes.step(
            elapsed.clip(min=0.005), values, where="post", color=colour, label=label, alpha=0.7
        )
    axes.set(xscale="log", xlabel="seconds", ylabel="objective")
    axes.legend(loc="lower right")
