"""Problems of feature selection: recorded ones, random ones, and what is asked of every answer."""

import numpy as np

from sparsification.qpm import SelectionProblem, solve

SMALL = [f"{family}_{i:02d}" for family in ("qpm", "chiqpm") for i in range(0, 12, 2)]
LARGE = ["large_qpm_512x196", "large_qpm_stanford_cars_resnet18"]


def instance_problem(case, **changes):
    """The problem of an instance of tests/qp_instances, its settings changed."""
    correlation = case["A"].astype(np.float64)
    redundancy = case.get("R")
    if redundancy is None:
        rows = correlation / np.linalg.norm(correlation, axis=1, keepdims=True)
        redundancy = np.triu(rows @ rows.T, 1).clip(min=0.0)
    settings = {"n_features": case["n"], "n_per_class": case["k"], "rho": case["rho"], "threshold": case["threshold"]}
    return SelectionProblem(correlation, redundancy, case["b"], **(settings | changes))


def random_problem(seed, *, n_pool=9, n_classes=4, n_features=5, n_per_class=2, **settings):
    """A small problem, for brute force."""
    rng = np.random.default_rng(seed)
    correlation = rng.normal(size=(n_pool, n_classes)) / 3
    redundancy = np.triu(rng.random((n_pool, n_pool)), 1)
    bias = 0.1 * rng.normal(size=n_pool)
    return SelectionProblem(correlation, redundancy, bias, n_features, n_per_class, threshold=0.5, **settings)


def valid_selection(problem, **options):
    """What `solve` selects, which breaks no rule."""
    selection = solve(problem, **options)
    assert problem.violations(selection.selected, selection.weight) == []
    return selection
