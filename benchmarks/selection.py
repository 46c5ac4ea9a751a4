"""Feature selection measured: the figures and tables of docs/selection.md.

    python -m benchmarks.selection [--seconds 20] [--certificate 60] [--figure docs/selection.png]

Everything runs on the instances kept with the tests. Solvers that are not installed or not licensed
for the size are named and left out.
"""

import argparse
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.measuring import measured
from configs.errors import RunError, UsageError
from sparsification.qpm import SelectionProblem, solve
from sparsification.qpm.neighbourhood import SwapNeighbourhood
from sparsification.qpm.threshold import redundancy_threshold

INSTANCES = Path(__file__).parent.parent / "tests" / "qp_instances"
LARGE = (
    "large_qpm_512x196",
    "large_qpm_stanford_cars_resnet18",
    "large_cars_64px_resnet18",  # our own dense model on StanfordCars (docs/results.md)
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


def threshold_row(name: str, problem: SelectionProblem) -> None:
    """Print the time to the threshold."""
    run = measured(lambda: problem.threshold)
    print(f"| {name} | {run.result:.4f} | {run.seconds:.1f} |")


def quality_row(name: str, problem: SelectionProblem, seconds: float, certificate: float) -> float:
    """Print objective and time over seeds and the certified gap; returns the best objective."""
    runs = [solve(problem, time_limit=seconds, seed=seed) for seed in SEEDS]
    objectives = [run.objective for run in runs]
    bounded = solve(problem, time_limit=seconds, certificate=certificate)
    best = max(objectives)
    print(
        f"| {name} | {best:.3f} | {min(objectives):.3f} | {np.mean([r.seconds for r in runs]):.1f} "
        f"| {bounded.upper_bound:.3f} | {100 * (bounded.upper_bound / best - 1):.2f} % |"
    )
    return best


def pair_row(name: str, pairs: str, free: float, seconds: float) -> None:
    """Print what the pair rule costs against the best objective without it."""
    problem = load(name, rho=0.5, pairs=pairs)
    selection = solve(problem, time_limit=seconds)
    kept = problem.count_named_pairs(selection.weight)
    print(
        f"| {name} | {pairs} | {selection.objective:.3f} "
        f"| {100 * (1 - selection.objective / free):.2f} % "
        f"| {kept} of {len(problem.named_pairs)} | {selection.seconds:.1f} |"
    )


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


def main() -> None:
    """Print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="time limit of every run")
    parser.add_argument("--certificate", type=float, default=60.0, help="seconds for the bound")
    parser.add_argument("--figure", default="docs/selection.png", help="file of the figure")
    options = parser.parse_args()

    problems = {name: load(name) for name in LARGE} | {"synthetic 2048x200": synthetic(2048, 200)}
    print("| instance | threshold | seconds |")
    for name in LARGE:
        threshold_row(name, load(name, threshold=None))
    threshold_row("synthetic 2048x200", problems["synthetic 2048x200"])
    print("| instance | best | worst of 5 seeds | seconds | upper bound | gap |")
    free = {
        name: quality_row(name, problem, options.seconds, options.certificate)
        for name, problem in problems.items()
    }
    print("| instance | pairs | objective | cost | most similar pairs kept | seconds |")
    for name in LARGE:
        for pairs in ("any", "named"):
            pair_row(name, pairs, free[name], options.seconds)
    draw(options.figure, options.seconds)


if __name__ == "__main__":
    main()
