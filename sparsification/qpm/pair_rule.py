"""Features of every class under the rule that enough pairs share all but one (CHiQPM).

The rule is priced: every class in turn takes the subset with the largest value plus `price` times
the number of classes with which it then shares exactly k - 1 features, until nothing changes. The
smallest price that yields enough pairs is found by bisection. A second start needs no price: m
classes around one core of k - 1 features form m (m - 1) / 2 pairs at once. From either, classes go
back to better subsets as long as enough pairs remain, and the better end counts.
"""

from itertools import combinations, islice

import numpy as np
from scipy.optimize import linear_sum_assignment

from sparsification.qpm.assignment import (
    FORBIDDEN,
    best_subsets,
    distinct_subsets,
    ranked_subsets,
    weight_of,
)
from sparsification.qpm.problem import SelectionProblem

# Subsets among which the classes choose: about this many, shared by all classes.
MAX_CANDIDATES = 4000
# Features among which two classes that must share look for a common core, beyond the k of one
# class.
SPARE_FEATURES = 2
MAX_SWEEPS = 30
BISECTIONS = 8
# Reward of a pair that is closest in A over one that is not: decides between equal values only.
PREFERENCE = 1e-7


def sharing_subsets(problem: SelectionProblem, members: np.ndarray) -> np.ndarray | None:
    """Distinct subsets over a set of features with enough sharing pairs, `[C, k]`, or None.

    Args:
        problem: its pair rule is kept.
        members: indices of the selected features, `[n]`.
    """
    assignment = PairAssignment(problem, members)
    choice = assignment.best_choice()
    return None if choice is None else assignment.subsets[choice]


class PairAssignment:
    """Classes that choose among common candidate subsets.

    Args:
        problem: its pair rule is kept.
        members: indices of the selected features, `[n]`.
    """

    def __init__(self, problem: SelectionProblem, members: np.ndarray):
        self.required, self.any_pair = problem.n_required_pairs, problem.pairs == "any"
        values, k = problem.gain[:, members], problem.n_per_class
        distinct = distinct_subsets(values, k)
        cluster = clustered_subsets(values, k, self.required)
        candidates = {tuple(row) for start in (distinct, cluster) for row in start.tolist()}
        candidates |= own_candidates(values, k)
        if not self.any_pair:
            candidates |= common_candidates(values, k, problem.named_pairs)
        self.subsets = np.array(sorted(candidates))  # (N, k)
        weight = weight_of(self.subsets, len(members))
        self.value = values @ weight.T  # (C, N)
        self.sharing = (weight @ weight.T == k - 1).astype(np.float32)  # (N, N)
        self.starts = [self._distinct_choice(start) for start in (distinct, cluster)]
        self.named: list[list[int]] = [[] for _ in range(len(values))]
        for c, d in problem.named_pairs:
            self.named[c].append(d)
            self.named[d].append(c)

    def _distinct_choice(self, subsets: np.ndarray) -> np.ndarray:
        """Candidate of every class: its subset, or its best free one if another class has that."""
        index = {tuple(subset): i for i, subset in enumerate(self.subsets.tolist())}
        choice, taken = [], np.zeros(len(self.subsets), dtype=bool)
        for c, subset in enumerate(map(tuple, subsets.tolist())):
            i = index[subset]
            if taken[i]:
                i = int(np.where(taken, -FORBIDDEN, self.value[c]).argmax())
            choice.append(i)
            taken[i] = True
        return np.array(choice)

    def total(self, choice: np.ndarray) -> float:
        """Value of all classes."""
        return float(self.value[np.arange(len(choice)), choice].sum())

    def count(self, choice: np.ndarray) -> int:
        """Number of counted pairs that share k - 1 features."""
        if self.any_pair:
            return int(self.sharing[np.ix_(choice, choice)].sum()) // 2
        shared = (self.sharing[choice[c], choice[self.named[c]]].sum() for c in range(len(choice)))
        return int(sum(shared)) // 2

    def best_choice(self) -> np.ndarray | None:
        """Best choice found with enough pairs, or None."""
        first, cluster = self.starts
        enough = [choice for choice in (first, cluster) if self.count(choice) >= self.required]
        if self.count(first) < self.required:
            enough += self._bisect(first)
        polished = [self.respond(choice, 0.0, self.required) for choice in enough]
        return max(polished, key=self.total, default=None)

    def _bisect(self, start: np.ndarray) -> list[np.ndarray]:
        """Choices with enough pairs, at ever smaller prices."""
        enough, low, high = [], 0.0, float(np.ptp(self.value))
        for _ in range(BISECTIONS):
            price = (low + high) / 2
            choice = self.respond(start, price)
            if self.count(choice) >= self.required:
                enough.append(choice)
                high = price
            else:
                low = price
        return enough

    def respond(self, choice: np.ndarray, price: float, keep: int = 0) -> np.ndarray:
        """Choice after every class, in turn and repeatedly, has taken its best response.

        Args:
            choice: candidate of every class, all different.
            price: reward of every counted pair.
            keep: a class moves only if at least this many counted pairs remain.
        """
        choice = choice.copy()
        n_sharing = self.sharing[choice].sum(axis=0)  # (N,): classes that share with a candidate
        taken = np.zeros(len(self.subsets), dtype=bool)
        taken[choice] = True
        n_pairs = self.count(choice)
        for _ in range(MAX_SWEEPS):
            moved = False
            for c, old in enumerate(choice):
                with_named = self.sharing[choice[self.named[c]]].sum(axis=0)
                partners = n_sharing - self.sharing[old] if self.any_pair else with_named
                score = self.value[c] + price * partners + PREFERENCE * with_named
                barred = taken | (n_pairs - partners[old] + partners < keep)
                score[barred & (np.arange(len(score)) != old)] = -FORBIDDEN
                new = int(score.argmax())
                if score[new] > score[old] + PREFERENCE / 10:
                    choice[c] = new
                    taken[old], taken[new] = False, True
                    n_sharing = n_sharing - self.sharing[old] + self.sharing[new]
                    n_pairs += int(partners[new] - partners[old])
                    moved = True
            if not moved:
                break
        return choice


def own_candidates(values: np.ndarray, n_per_class: int) -> set[tuple[int, ...]]:
    """The best few subsets of every class."""
    per_class = max(MAX_CANDIDATES // len(values), 2)
    rankings = (islice(ranked_subsets(own, n_per_class), per_class) for own in values)
    return {subset for ranking in rankings for _, subset in ranking}


def common_candidates(
    values: np.ndarray, n_per_class: int, pairs: np.ndarray
) -> set[tuple[int, ...]]:
    """All subsets of the few features that the two classes of a pair value most together."""
    count = min(n_per_class + SPARE_FEATURES, values.shape[1])
    together = values[pairs[:, 0]] + values[pairs[:, 1]]
    pools = best_subsets(together, count).tolist()
    return {subset for pool in pools for subset in combinations(pool, n_per_class)}


def clustered_subsets(values: np.ndarray, n_per_class: int, required: int) -> np.ndarray:
    """Subsets of the classes when as many as needed gather around one core of k - 1 features.

    Of all cores within the best subset of a class, the one that costs the gathering classes least
    is taken; each of them adds a feature of its own. The other classes keep their best subset,
    which may repeat.

    Args:
        values: value of every selected feature for every class, `[C, n]`.
        n_per_class: size of the subsets k.
        required: number of pairs that the gathering classes have to form, if there are enough
            features.
    """
    n_classes, n = values.shape
    subsets = best_subsets(values, n_per_class)
    best = np.take_along_axis(values, subsets, axis=1).sum(axis=1)
    size = int(np.ceil((1 + np.sqrt(1 + 8 * required)) / 2))  # size (size - 1) / 2 >= required
    size = min(size, n - n_per_class + 1, n_classes)
    cores = {core for row in subsets.tolist() for core in combinations(row, n_per_class - 1)}
    least, gathering = np.inf, None
    for core in map(list, sorted(cores)):
        extra = values.copy()
        extra[:, core] = -np.inf
        loss = best - values[:, core].sum(axis=1) - extra.max(axis=1)
        nearest = np.argpartition(loss, size - 1)[:size]
        if loss[nearest].sum() < least:
            least, gathering = loss[nearest].sum(), (core, nearest)
    core, nearest = gathering
    free = np.setdiff1d(np.arange(n), core)
    rows, columns = linear_sum_assignment(values[np.ix_(nearest, free)], maximize=True)
    for c, f in zip(nearest[rows], free[columns], strict=True):
        subsets[c] = sorted([*core, f])
    return subsets
