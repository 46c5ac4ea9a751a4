"""Features of every class when named pairs must share exactly k - 1 of them (`pairs="named"`).

Over a given set of features every component of classes tied by named pairs is a small program of its own
(`row_program`). Its linear relaxation values the set; integer solutions are found for the few sets that are worth it.
If classes that form no pair end up with the same features, one moves to its best free row; if it has none, a constraint
keeps the two apart and the program is solved again.
"""

from itertools import combinations

import numpy as np

from sparsification.qpm.assignment import distinct_subsets, gather
from sparsification.qpm.components import Component
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.proofs.lagrangian import Lagrangian, Multipliers
from sparsification.qpm.search.row_program import RELATIVE_GAP, Program, Row, Valued, made_distinct, rows_of

# Features beyond the k best of every class that the program of a component may use at first.
SPARE_FEATURES = 4
# Programs solved until no two classes of a component have the same features.
MAX_REPEATS = 8
# Limits on the seconds of computing for the integer programs of one component; interrupted searches end here too, so
# there is a minimum.
MIN_SECONDS, MAX_SECONDS = 1.0, 15.0


class NamedRows:
    """Values sets of features under the rule and finds the features of every class."""

    def __init__(self, problem: SelectionProblem):
        self.problem = problem
        self.components, self.free = problem.components
        self._known: dict[tuple[int, bytes], Valued] = {}
        self._whole: dict[tuple[int, bytes], np.ndarray] = {}

    def impossible_component(self, progress: Progress) -> Component | None:
        """A component whose named pairs cannot all share, whatever the features; None if none is known.

        With enough features they always can: all classes around one core of k - 1 features.
        """
        n, k = self.problem.n_features, self.problem.n_per_class
        for component in self.components:
            n_classes = len(component.classes)
            if n_classes > n - k + 1:
                program = Program(np.zeros((n_classes, n)), component, k)
                program.apart = set(combinations(range(n_classes), 2))
                if program.is_impossible(progress.on_clock(MAX_SECONDS)):
                    return component
        return None

    def value(self, members: np.ndarray) -> float:
        """Approximate objective over a set of features, `[n]`.

        It is too large if a component's solution is fractional or has the rows of another, and too small if classes
        that want the same features can be separated at a lower cost. Minus infinity if named pairs cannot share k - 1
        of these features.
        """
        problem, k = self.problem, self.problem.n_per_class
        value = problem.set_value(members)
        if len(self.free):
            own = problem.gain[np.ix_(self.free, members)]
            value += np.take_along_axis(own, distinct_subsets(own, k), axis=1).sum()
        return value + sum(self._valued(i, members).value for i in range(len(self.components)))

    def prices(self, members: np.ndarray, lagrangian: Lagrangian) -> Multipliers:
        """Multipliers with which the bound over a set of features, `[n]`, equals the value of the programs."""
        classes = np.zeros(self.problem.n_classes)
        pairs = np.zeros(lagrangian.n_pairs)
        parts = zip(self.components, lagrangian.eliminations, lagrangian.slices, strict=True)
        for i, (component, part, where) in enumerate(parts):
            valued = self._valued(i, members)
            classes[component.classes], pairs[where] = valued.classes, valued.pairs[part.kept]
        return Multipliers(classes, pairs)

    def _valued(self, i: int, members: np.ndarray) -> Valued:
        component = self.components[i]
        pool = members[self._pool(component, members)]
        key = (i, pool.tobytes())
        if key not in self._known:
            gain = self.problem.gain[np.ix_(component.classes, pool)]
            self._known[key] = Program(gain, component, self.problem.n_per_class).valued()
        return self._known[key]

    def assign(self, members: np.ndarray, progress: Progress) -> np.ndarray | None:
        """Distinct features of every class over a set, positions `[C, k]`; None if impossible."""
        k = self.problem.n_per_class
        values = self.problem.gain[:, members]
        subsets = np.zeros((len(values), k), dtype=np.int64)
        taken: set[Row] = set()
        for i, component in enumerate(self.components):
            pool = members[self._pool(component, members)]
            key = (i, pool.tobytes())
            # Found before, for another set with the same features for these classes.
            known = self._whole.get(key)
            rows = None if known is None else np.searchsorted(members, known)
            if rows is None or taken & set(map(tuple, rows.tolist())):
                rows = self._whole_rows(component, members, taken, progress)
                if rows is not None and np.isin(members[rows], pool).all():
                    self._whole[key] = members[rows]
            if rows is None:
                rows = gather(values[component.classes], k, taken)
            if rows is None:
                return None
            subsets[component.classes] = rows
            taken.update(map(tuple, rows.tolist()))
        if len(self.free):
            subsets[self.free] = distinct_subsets(values[self.free], k, taken)
        return subsets

    def _pool(self, component: Component, members: np.ndarray) -> np.ndarray:
        """Positions of the few features that the classes of a component may want."""
        values = self.problem.gain[np.ix_(component.classes, members)]
        count = min(self.problem.n_per_class + SPARE_FEATURES, len(members))
        return np.unique(np.argpartition(-values, count - 1, axis=1)[:, :count])

    def _whole_rows(
        self, component: Component, members: np.ndarray, taken: set[Row], progress: Progress
    ) -> np.ndarray | None:
        """The best distinct rows found for one component, `[K, k]`; None if there are none."""
        k, every = self.problem.n_per_class, np.arange(len(members))
        started = progress.elapsed
        best, most = None, -np.inf
        for pool in (self._pool(component, members), every):
            values = self.problem.gain[np.ix_(component.classes, members[pool])]
            program = Program(values, component, k)
            for _ in range(MAX_REPEATS):
                left = np.clip(progress.time_limit - progress.elapsed, MIN_SECONDS, MAX_SECONDS)
                uses = program.solve_whole(progress.on_clock(float(left)))
                if uses is None:
                    break
                distinct = made_distinct(values, uses, component.pairs, pool, taken)
                if distinct is not None and (values * distinct).sum() > most:
                    most = (values * distinct).sum()
                    best = pool[np.argsort(-distinct, axis=1, kind="stable")[:, :k]]
                reachable = (values * uses).sum()  # with the constraints so far
                apart = not program.keep_apart(rows_of(uses, pool), pool, taken)
                done = apart or reachable - most <= RELATIVE_GAP * abs(most)
                late = progress.expired or progress.elapsed - started > MAX_SECONDS
                if best is not None and (late or done):
                    return np.sort(best, axis=1)
                if late:
                    return None
            if best is not None:
                return np.sort(best, axis=1)
        return None
