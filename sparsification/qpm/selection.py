"""The answer of every solver to a selection problem."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from configs.errors import RunError
from sparsification.qpm.assignment import weight_of
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress


class NoSelectionError(RunError):
    """No selection that keeps the pair rule was found; there may be one."""


class PairsImpossibleError(NoSelectionError):
    """No selection keeps the pair rule: that is proved."""


def no_selection(problem: SelectionProblem, seconds: float | None) -> NoSelectionError:
    """The error for finding nothing in this many seconds of computing, or, with None, for a proof of that."""
    kind = "named pairs" if problem.pairs == "named" else "pairs"
    rule = (
        f"{problem.n_required_pairs} {kind} of classes share all but one of their {problem.n_per_class} features "
        f"(of {problem.n_features} in all)"
    )
    relaxed = "--pairs any" if problem.pairs == "named" else "a smaller selection.pair_density"
    if seconds is None:
        return PairsImpossibleError(
            f"it is proved that there is no selection in which {rule}; raise --n_features or use {relaxed}"
        )
    return NoSelectionError(
        f"in {seconds:.0f} s no selection was found in which {rule}, but there may be one; "
        f"raise --selection_seconds or --n_features, or use {relaxed}"
    )


@dataclass(frozen=True)
class Selection:
    """Selected features and their use by the classes, with what is known about their quality."""

    selected: np.ndarray  # indices of the selected features, ascending, [n_features]
    weight: np.ndarray  # 0/1 features of every class over `selected`, [C, n_features]
    objective: float  # value of the selection, in float64
    upper_bound: float  # no selection has a larger objective; infinite if no bound was computed
    gap: float  # (upper_bound - objective) / |objective|, a fraction
    solver: str
    seconds: float  # of computing time, without that for the bound


@dataclass(frozen=True)
class Incumbent:
    """A feasible selection, in the form that solvers use."""

    members: np.ndarray  # indices of the selected features, ascending, [n]
    subsets: np.ndarray  # positions of the features of every class among them, [C, k]
    objective: float

    @property
    def weight(self) -> np.ndarray:
        """0/1 features of every class, `[C, n]`."""
        return weight_of(self.subsets, len(self.members))


def incumbent_of(problem: SelectionProblem, members: np.ndarray, subsets: np.ndarray) -> Incumbent:
    """The incumbent with the given features and rows, valued."""
    weight = weight_of(subsets, len(members))
    return Incumbent(members, subsets, problem.objective(members, weight))


def best_of(
    problem: SelectionProblem,
    ranked: list[tuple[float, np.ndarray]],
    rows: Callable[[np.ndarray], np.ndarray | None],
    progress: Progress,
) -> Incumbent | None:
    """The best selection over some sets of features under all rules; None if no set allows one.

    Args:
        ranked: sets `[n]` and values that their selections cannot exceed, best first.
        rows: finds the features of every class over a set, `[C, k]`, or None.
    """
    best = None
    for value, members in ranked:
        if best and (value <= best.objective or progress.expired):
            break
        subsets = rows(members)
        if subsets is None:
            continue
        incumbent = incumbent_of(problem, members, subsets)
        if best is None or incumbent.objective > best.objective:
            best = incumbent
            progress.improved(best.objective)
    return best
