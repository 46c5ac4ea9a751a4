"""The selection problem as a mixed-integer linear program, for general solvers.

Binaries x_f (selected) and w_cf (class c uses f) with w_cf <= x_f. The published formulation multiplies binaries where
features are redundant and where classes share; each product is replaced by its linear envelope, which is exact for
binaries. Rows are constrained to be distinct only for pairs of classes that turn out to collide: a solver optimises,
reports the collisions, and starts again.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy import sparse

from sparsification.qpm.assignment import takers_of
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.selection import Incumbent, incumbent_of


class LinearProgram:
    """Maximise `cost @ v`, `row_lower <= matrix @ v <= row_upper`, `0 <= v <= 1`, some v integer."""

    def __init__(self, problem: SelectionProblem, distinct_pairs: set[tuple[int, int]]):
        self.problem = problem
        F, C, k = problem.pool_size, problem.n_classes, problem.n_per_class
        self.cost: list[float] = []
        self.integer: list[bool] = []
        self._rows: list[tuple[np.ndarray, np.ndarray, float, float]] = []

        self.selected = self._variables(problem.bias, integer=True)  # (F,)
        self.uses = self._variables(problem.gain.ravel(), integer=True).reshape(C, F)
        self._row(self.selected, 1.0, problem.n_features, problem.n_features)
        for c in range(C):
            self._row(self.uses[c], 1.0, k, k)
            for f in range(F):
                self._row([self.uses[c, f], self.selected[f]], [1.0, -1.0], -np.inf, 0.0)
        self._penalise_redundancy()
        if problem.n_required_pairs:
            self._require_pairs()
        for c, d in distinct_pairs:
            shared = self._variables(np.zeros(F))
            self._share_all(c, d, shared)
            self._row(shared, 1.0, -np.inf, k - 1)

    def _variables(self, cost: np.ndarray, *, integer: bool = False) -> np.ndarray:
        first = len(self.cost)
        self.cost.extend(cost)
        self.integer.extend([integer] * len(cost))
        return np.arange(first, len(self.cost))

    def _row(self, columns, coefficients, lower: float, upper: float) -> None:
        columns = np.asarray(columns)
        self._rows.append((columns, np.broadcast_to(coefficients, columns.shape), lower, upper))

    def _penalise_redundancy(self) -> None:
        """A variable of at least x_f + x_g - 1 for every penalised pair."""
        pairs = np.argwhere(np.triu(self.problem.penalty) > 0)
        both = self._variables(-self.problem.penalty[pairs[:, 0], pairs[:, 1]])
        for (f, g), product in zip(pairs, both, strict=True):
            columns = [self.selected[f], self.selected[g], product]
            self._row(columns, [1.0, 1.0, -1.0], -np.inf, 1.0)

    def _require_pairs(self) -> None:
        """Named pairs share k - 1 features, or a binary per pair is 1 only if it does."""
        problem, k = self.problem, self.problem.n_per_class
        if problem.pairs == "named":
            for c, d in problem.named_pairs:
                shared = self._shared(c, d)
                self._row(shared, 1.0, k - 1, k - 1)
                self._share_all(c, d, shared)
            return
        pairs = np.argwhere(np.triu(problem.counted_pairs))
        sharing = self._variables(np.zeros(len(pairs)), integer=True)
        self._row(sharing, 1.0, problem.n_required_pairs, np.inf)
        for (c, d), indicator in zip(pairs, sharing, strict=True):
            shared = self._shared(c, d)
            self._row([*shared, indicator], [1.0] * len(shared) + [1.0 - k], 0.0, np.inf)

    def _shared(self, c: int, d: int) -> np.ndarray:
        """A variable per feature, positive only if both classes use it, `[F]`."""
        shared = self._variables(np.zeros(self.problem.pool_size))
        for f, both in enumerate(shared):
            for owner in (c, d):
                self._row([both, self.uses[owner, f]], [1.0, -1.0], -np.inf, 0.0)
        return shared

    def _share_all(self, c: int, d: int, shared: np.ndarray) -> None:
        """Make the variables 1 for every feature that both classes use."""
        for f, both in enumerate(shared):
            columns = [self.uses[c, f], self.uses[d, f], both]
            self._row(columns, [1.0, 1.0, -1.0], -np.inf, 1.0)

    @property
    def matrix(self) -> sparse.csr_array:
        """Coefficients of all rows, `[rows, variables]`."""
        columns, coefficients, _, _ = zip(*self._rows, strict=True)
        starts = np.cumsum([0, *map(len, columns)])
        return sparse.csr_array(
            (np.concatenate(coefficients), np.concatenate(columns), starts), shape=(len(self._rows), len(self.cost))
        )

    @property
    def row_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bound of every row."""
        _, _, lower, upper = zip(*self._rows, strict=True)
        return np.array(lower, dtype=float), np.array(upper, dtype=float)

    def incumbent(self, values: np.ndarray) -> Incumbent:
        """The selection that a solution stands for."""
        members = np.flatnonzero(values[self.selected] > 0.5)
        uses = values[self.uses[:, members]]
        subsets = np.sort(np.argsort(-uses, axis=1)[:, : self.problem.n_per_class], axis=1)
        return incumbent_of(self.problem, members, subsets)


class Incumbents:
    """The best selection with distinct rows that a solver has found so far."""

    def __init__(self, progress: Progress, best: Incumbent | None = None):
        self.progress, self.best = progress, best

    def offer(self, incumbent: Incumbent) -> set[tuple[int, int]]:
        """Keep a selection if it is feasible and better; returns the pairs of classes that collide in it."""
        repeated = collisions(incumbent.subsets)
        if not repeated and (self.best is None or incumbent.objective > self.best.objective):
            self.best = incumbent
            self.progress.improved(incumbent.objective)
        return repeated


def collisions(subsets: np.ndarray) -> set[tuple[int, int]]:
    """All pairs of classes with the same subset."""
    return {pair for classes in takers_of(subsets).values() for pair in combinations(classes, 2)}


def improve(
    problem: SelectionProblem,
    incumbents: Incumbents,
    optimise: Callable[[LinearProgram, Incumbents], tuple[set[tuple[int, int]], float]],
) -> float:
    """The upper bound of a solver, which is called until its best solution has distinct rows or time is up.

    Args:
        incumbents: the best selection so far; the solver improves it.
        optimise: solves a program; returns the pairs of classes that collide in its best solution, and its bound.
    """
    distinct_pairs: set[tuple[int, int]] = set()
    while True:
        repeated, bound = optimise(LinearProgram(problem, distinct_pairs), incumbents)
        if not repeated or incumbents.progress.expired:
            return bound
        distinct_pairs |= repeated
