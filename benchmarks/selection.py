"""Feature selection measured: the figures and tables of docs/selection.md.

Everything runs on the instances kept with the tests. Solvers that are not installed or not licensed
for the size are named and left out.
"""

import argparse
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.measuring import measured
from benchmarks.table import markdown, seconds
from configs.errors import RunError, UsageError
from sparsification.qpm import SelectionProblem, solve
from sparsification.qpm.search.neighbourhood import SwapNeighbourhood
from sparsification.qpm.threshold import redundancy_threshold

INSTANCES = Path(__file__).parent.parent / "tests" / "qp_instances"
LARGE = (
    "large_qpm_512x196",
    "large_qpm_stanford_cars_resnet18",
    "large_cars_64px_resnet18",  # our own dense model on StanfordCars (docs/earlier_results.md)
)
SEEDS = range(5)


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


@contextmanager
def proven(features: int, classes: int, seconds: float):
    """A problem small enough for the optimum to be proven, by our search and by a general solver."""
    problem = excerpt(features, classes)
    yield (
        lambda: solve(problem).objective,
        lambda: solve(problem, "highs", time_limit=seconds).objective,
    )


@contextmanager
def certified(instance: str, rho: float, bound_seconds: float):
    """A whole selection, threshold and upper bound included; general solvers do not come near (docs/selection.md)."""
    problem = load(instance, rho=rho, threshold=None)
    yield lambda: 100 * solve(problem, certificate=bound_seconds).gap, None


@contextmanager
def threshold(features: int, classes: int):
    """The search for the redundancy threshold, which gives itself 2 ms per feature, but at least a second."""
    problem = synthetic(features, classes)
    redundancy = problem.redundancy + problem.redundancy.T
    yield lambda: redundancy_threshold(redundancy, problem.n_features), None


@contextmanager
def swaps(features: int, classes: int, count: int):
    """The first set of a search, valued, and some swaps; all swaps of each set are valued."""
    problem = synthetic(features, classes, threshold=0.3)
    gain, penalty = problem.gain, problem.penalty

    def search() -> None:
        neighbourhood = SwapNeighbourhood(gain, penalty, problem.bias, problem.n_per_class)
        neighbourhood.move_to(np.arange(problem.n_features))
        for step in range(count):
            neighbourhood.evaluate()
            neighbourhood.swap(step % problem.n_features, problem.n_features + step)

    yield search, None


def trace(problem: SelectionProblem, solver: str, seconds: float, seed: int = 0):
    """(seconds, objective) of all improvements, and the selection; None for a missing solver."""
    steps: list[tuple[float, float]] = []
    try:
        selection = solve(
            problem,
            solver,
            time_limit=seconds,
            seed=seed,
            on_improvement=lambda *step: steps.append(step),
        )
    except (UsageError, RunError) as error:
        print(f"{solver}: {error}")
        return None
    return np.array(steps), selection


def threshold_row(name: str, problem: SelectionProblem) -> list[str]:
    """The threshold and the time to it."""
    run = measured(lambda: problem.threshold)
    return [name, f"{run.result:.4f}", seconds(run.seconds)]


def quality_row(
    name: str, problem: SelectionProblem, limit: float, certificate: float
) -> tuple[float, list[str]]:
    """The best objective; and objectives and time over seeds and the certified gap."""
    runs = [solve(problem, time_limit=limit, seed=seed) for seed in SEEDS]
    objectives = [run.objective for run in runs]
    bounded = solve(problem, time_limit=limit, certificate=certificate)
    best = max(objectives)
    mean = float(np.mean([r.seconds for r in runs]))
    gap = f"{100 * (bounded.upper_bound / best - 1):.2f} %"
    bound = f"{bounded.upper_bound:.3f}"
    return best, [name, f"{best:.3f}", f"{min(objectives):.3f}", seconds(mean), bound, gap]


def pair_row(name: str, pairs: str, free: float, limit: float) -> list[str]:
    """What the pair rule costs against the best objective without it."""
    problem = load(name, rho=0.5, pairs=pairs)
    selection = solve(problem, time_limit=limit)
    kept = problem.count_named_pairs(selection.weight)
    cost = f"{100 * (1 - selection.objective / free):.2f} %"
    of = f"{kept} of {len(problem.named_pairs)}"
    return [name, pairs, f"{selection.objective:.3f}", cost, of, seconds(selection.seconds)]


def draw(figure_path: str, seconds: float) -> None:
    """Draw objective against time of every solver that runs here."""
    from matplotlib import pyplot as plt

    figure, (small, large) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    draw_traces(small, excerpt(), {"search": 1, "gurobi": 1, "highs": 1}, seconds)
    small.set_title("64 features, 16 classes, choose 12 / 3")
    draw_traces(large, load(LARGE[0]), {"search": len(SEEDS), "highs": 1}, seconds)
    large.set_title("512 features, 196 classes, choose 50 / 5")
    figure.savefig(figure_path, dpi=120)
    print(f"figure: {figure_path}")


def draw_traces(axes, problem: SelectionProblem, n_seeds: dict[str, int], seconds: float) -> None:
    """Draw the traces of some solvers, as many seeds of each as asked for."""
    colours = {"search": "tab:blue", "gurobi": "tab:red", "highs": "tab:green"}
    for solver, count in n_seeds.items():
        for seed in range(count):
            traced = trace(problem, solver, seconds, seed)
            if traced is None:
                axes.plot(
                    [], [], color=colours[solver], label=f"{solver}: nothing in {seconds:.0f} s"
                )
                continue
            steps, selection = traced
            elapsed = [*steps[:, 0].clip(min=0.005), max(selection.seconds, steps[-1, 0])]
            values = [*steps[:, 1], selection.objective]
            label = solver if seed == 0 else None
            axes.step(elapsed, values, where="post", color=colours[solver], label=label, alpha=0.7)
    axes.set(xscale="log", xlabel="seconds", ylabel="objective")
    axes.legend(loc="lower right")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Times."""
    parser.add_argument("--seconds", type=float, default=20.0, help="time limit of every run")
    parser.add_argument("--certificate", type=float, default=60.0, help="seconds for the bound")
    parser.add_argument("--figure", help="also draw objective against time into this file")


def report(asked: argparse.Namespace) -> None:
    """Print the tables of docs/selection.md, and draw its figure if asked."""
    largest = "synthetic 2048x200"
    problems = {name: load(name) for name in LARGE} | {largest: synthetic(2048, 200)}
    thresholds = [threshold_row(name, load(name, threshold=None)) for name in LARGE]
    thresholds.append(threshold_row(largest, problems[largest]))
    print(markdown(["instance", "threshold", "time"], thresholds))
    qualities = {
        name: quality_row(name, problem, asked.seconds, asked.certificate)
        for name, problem in problems.items()
    }
    header = ["instance", "best", "worst of 5 seeds", "time", "upper bound", "gap"]
    print(markdown(header, (row for _, row in qualities.values())))
    pairs = [
        pair_row(name, pairs, qualities[name][0], asked.seconds)
        for name in LARGE
        for pairs in ("any", "named")
    ]
    header = ["instance", "pairs", "objective", "cost", "most similar pairs kept", "time"]
    print(markdown(header, pairs))
    if asked.figure:
        draw(asked.figure, asked.seconds)
