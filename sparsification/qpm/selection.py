"""The answer of every solver to a selection problem."""

from dataclasses import dataclass

import numpy as np

from sparsification.qpm.assignment import weight_of
from sparsification.qpm.problem import SelectionProblem


@dataclass(frozen=True)
class Selection:
    """Selected features and their use by the classes, with what is known about their quality.

    Attributes:
        selected: indices of the selected features, ascending, `[n_features]`.
        weight: 0/1 features of every class over `selected`, `[C, n_features]`.
        objective: value of the selection, in float64.
        upper_bound: no selection has a larger objective; infinite if no bound was computed.
        gap: (upper_bound - objective) / |objective|, a fraction.
        solver: which solver found it.
        seconds: time it took, without the bound's.
    """

    selected: np.ndarray
    weight: np.ndarray
    objective: float
    upper_bound: float
    gap: float
    solver: str
    seconds: float


def make_selection(
    problem: SelectionProblem,
    selected: np.ndarray,
    subsets: np.ndarray,
    *,
    upper_bound: float,
    solver: str,
    seconds: float,
) -> Selection:
    """Selection of features with, for every class, positions `[C, k]` of its subset among them."""
    weight = weight_of(subsets, len(selected))
    order = np.argsort(selected)
    selected, weight = selected[order], weight[:, order]
    objective = problem.objective(selected, weight)
    upper_bound = max(upper_bound, objective)
    gap = (upper_bound - objective) / max(abs(objective), 1e-12)
    return Selection(selected, weight, objective, upper_bound, gap, solver, seconds)
