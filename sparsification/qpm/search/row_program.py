"""The features of one component of classes, tied by named pairs, as a linear program over a set of features.

In the uses w and the common use z of every pair:

    maximise sum value w   with   sum_f w_cf = k,   sum_f z_f = k - 1,   w_c + w_d - 1 <= z <= w_c, w_d.

The relaxation takes milliseconds and is rarely fractional; its multipliers tell what the classes would pay for other
features. If it is fractional, a mixed-integer solver finds an integer solution.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, linprog, milp

from sparsification.qpm.components import Component

# Sweeps over the classes to separate those that have the same features.
MAX_SWEEPS = 20
# At which the integer program counts as solved.
RELATIVE_GAP = 2e-4
# A class moves only for a gain above this, which excludes rounding errors.
IMPROVEMENT = 1e-9
# A use closer to 0 or 1 than this counts as integer.
WHOLE = 1e-6
# SciPy's status of a program that is proven to have no solution.
INFEASIBLE = 2

Row = tuple[int, ...]


@dataclass(frozen=True)
class Valued:
    """The value of a set of features for a component."""

    value: float  # of its classes; minus infinity if its named pairs cannot share k - 1 of the features
    classes: np.ndarray  # gain if a class had one feature more, [K]
    pairs: np.ndarray  # gain if a pair shared one feature less, [E]


class Program:
    """The linear program of one component over a pool of features, of `values` for every class, `[K, P]`."""

    def __init__(self, values: np.ndarray, component: Component, n_per_class: int):
        self.values, self.n_per_class = values, n_per_class
        self.pairs = component.pairs
        self.apart: set[tuple[int, int]] = set()
        self.forbidden: set[tuple[int, Row]] = set()  # a class and positions in the pool

    def keep_apart(self, rows: list[Row], pool: np.ndarray, taken: set[Row]) -> bool:
        """Forbid that classes have the same row again, or one that is taken; returns whether any do.

        Args:
            rows: features of every class.
            pool: features of the program, ascending.
            taken: rows of classes outside the component.
        """
        same = {(c, d) for c, d in combinations(range(len(rows)), 2) if rows[c] == rows[d]}
        stolen = {(c, tuple(np.searchsorted(pool, row).tolist())) for c, row in enumerate(rows) if row in taken}
        self.apart |= same
        self.forbidden |= stolen
        return bool(same or stolen)

    def solve_whole(self, seconds: float) -> np.ndarray | None:
        """0/1 uses `[K, P]`: the relaxed ones if they are integer, else those of the integer program."""
        found = self.relaxed()
        uses = self._uses(found)
        if uses is not None and not is_whole(uses):
            uses = self._uses(self._optimise_whole(seconds))
        return None if uses is None else uses.round()

    def valued(self) -> Valued:
        """Value and multipliers of the relaxed uses; if these are integer, the value of distinct ones."""
        n_classes, found = len(self.values), self.relaxed()
        uses = self._uses(found)
        if uses is None:
            return Valued(-np.inf, np.zeros(n_classes), np.zeros(len(self.pairs)))
        if is_whole(uses):
            pool = np.arange(self.values.shape[1])
            distinct = made_distinct(self.values, uses.round(), self.pairs, pool, set())
            uses = uses if distinct is None else distinct
        slopes = found.eqlin.marginals
        return Valued(float((self.values * uses).sum()), -slopes[:n_classes], slopes[n_classes:])

    def is_impossible(self, seconds: float) -> bool:
        """Whether it is proved, in this time, that there is no integer solution."""
        return self._optimise_whole(seconds).status == INFEASIBLE

    def _uses(self, found: OptimizeResult) -> np.ndarray | None:
        return None if found.x is None else found.x[: self.values.size].reshape(self.values.shape)

    def relaxed(self) -> OptimizeResult:
        """The solved linear relaxation. SciPy minimises: value and multipliers have the opposite sign."""
        cost, matrix, upper, equal = self._arrays()
        return linprog(
            -cost, A_ub=matrix[~equal], b_ub=upper[~equal], A_eq=matrix[equal], b_eq=upper[equal], bounds=(0.0, 1.0)
        )

    def _optimise_whole(self, seconds: float) -> OptimizeResult:
        cost, matrix, upper, equal = self._arrays()
        integrality = np.zeros(len(cost))
        integrality[: self.values.size] = True
        return milp(
            -cost,
            integrality=integrality,
            bounds=Bounds(0.0, 1.0),
            constraints=LinearConstraint(matrix, np.where(equal, upper, -np.inf), upper),
            options={"time_limit": seconds, "mip_rel_gap": RELATIVE_GAP},
        )

    def _arrays(self) -> tuple[np.ndarray, sparse.csr_array, np.ndarray, np.ndarray]:
        """Value of every variable, uses first; rows of constraints, upper bounds, whether equal to them."""
        n_classes, n_pool = self.values.shape
        k, n_own = self.n_per_class, self.values.size
        pairs = np.array([*map(tuple, self.pairs.tolist()), *sorted(self.apart)])
        uses = np.arange(n_own).reshape(n_classes, n_pool)
        common = n_own + np.arange(len(pairs) * n_pool).reshape(len(pairs), n_pool)
        left, right = uses[pairs[:, 0]].ravel(), uses[pairs[:, 1]].ravel()
        n_named, each = len(self.pairs), common.ravel()
        blocks: list[tuple] = [  # columns and coefficients of every row, upper bound
            (uses, np.ones(n_pool), k),
            (common, np.ones(n_pool), k - 1),
            (np.stack([each, left], axis=1), [1.0, -1.0], 0),
            (np.stack([each, right], axis=1), [1.0, -1.0], 0),
            (np.stack([left, right, each], axis=1), [1.0, 1.0, -1.0], 1),
        ]
        for c, row in sorted(self.forbidden):
            blocks.append((uses[c, list(row)][None], np.ones(k), k - 1))
        columns = np.concatenate([block[0].ravel() for block in blocks])
        coefficients = np.concatenate([np.tile(block[1], len(block[0])) for block in blocks])
        lengths = np.concatenate([np.full(len(b[0]), b[0].shape[1]) for b in blocks])
        matrix = sparse.csr_array(
            (coefficients, columns, np.concatenate([[0], np.cumsum(lengths)])),
            shape=(len(lengths), n_own + common.size),
        )
        cost = np.concatenate([self.values.ravel(), np.zeros(common.size)])
        upper = np.concatenate([np.full(len(block[0]), block[2], dtype=float) for block in blocks])
        return cost, matrix, upper, np.arange(len(upper)) < n_classes + n_named


def rows_of(uses: np.ndarray, pool: np.ndarray) -> list[Row]:
    """Features of every class from its 0/1 uses `[K, P]` of an ascending pool."""
    return [tuple(pool[own > 0].tolist()) for own in uses]


def made_distinct(
    values: np.ndarray, uses: np.ndarray, pairs: np.ndarray, pool: np.ndarray, taken: set[Row]
) -> np.ndarray | None:
    """Uses in which no two classes are the same, and no class alone can improve, `[K, P]`.

    One class after another takes the best free row that shares all but one feature with those of its partners, if its
    own row is shared or worth less. None if a class finds no row.

    Args:
        values: of every feature of the pool for every class, `[K, P]`.
        uses: 0/1, in which named pairs share as they must, `[K, P]`.
        pairs: the named pairs, `[E, 2]`.
        pool: the features, ascending.
        taken: rows of classes outside the component.
    """
    uses = uses.copy()
    n_classes = len(uses)
    for _ in range(MAX_SWEEPS):
        moved = clash = False
        for c in range(n_classes):
            partners = np.concatenate([pairs[pairs[:, 0] == c, 1], pairs[pairs[:, 1] == c, 0]])
            own, others = rows_of(uses[c : c + 1], pool)[0], np.delete(uses, c, axis=0)
            occupied = taken | set(rows_of(others, pool))
            worth = -np.inf if own in occupied else values[c] @ uses[c] + IMPROVEMENT
            candidates = one_swap_away(uses[partners])
            gains = candidates @ values[c]
            for i in np.argsort(-gains, kind="stable"):
                if gains[i] <= worth:
                    break
                if rows_of(candidates[i : i + 1], pool)[0] not in occupied:
                    uses[c], moved = candidates[i], True
                    break
            else:
                clash |= own in occupied
        if not moved:
            return None if clash else uses
    return None if clash else uses


def is_whole(uses: np.ndarray) -> bool:
    """Whether relaxed uses are 0 or 1."""
    return bool(np.abs(uses - uses.round()).max() < WHOLE)


def one_swap_away(uses: np.ndarray) -> np.ndarray:
    """All 0/1 rows that share all but one feature with each of some rows, `[N, P]`."""
    used, unused = np.flatnonzero(uses[0] > 0), np.flatnonzero(uses[0] == 0)
    leaving, entering = (grid.ravel() for grid in np.meshgrid(used, unused, indexing="ij"))
    found = np.repeat(uses[:1], len(leaving), axis=0)
    every = np.arange(len(leaving))
    found[every, leaving], found[every, entering] = 0.0, 1.0
    return found[(found @ uses.T == len(used) - 1).all(axis=1)]
