"""Features of every class when any pairs may share all but one (CHiQPM, `pairs="any"`).

The rule is priced: every class in turn takes the subset with the largest value plus `price` times the number of classes
with which it then shares exactly k - 1 features, until nothing changes. The smallest price that yields enough pairs is
found by bisection. A second start needs no price: m classes around one core of k - 1 features form m (m - 1) / 2 pairs
at once. From either, classes go back to better subsets as long as enough pairs remain, and the better end counts.
"""

from itertools import combinations, islice

import numpy as np

from sparsification.qpm.assignment import FORBIDDEN, best_subsets, distinct_subsets, gather, ranked_subsets, weight_of
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress

# Subsets among which the classes choose: about this many, shared by all classes.
MAX_CANDIDATES = 2000
# Cores tried for the one cluster of classes.
MAX_CORES = 100
MAX_SWEEPS = 30
BISECTIONS = 6
# Extra reward of a pair that is among the closest in A: only breaks ties.
PREFERENCE = 1e-7


def sharing_subsets(problem: SelectionProblem, members: np.ndarray, progress: Progress) -> np.ndarray | None:
    """Distinct subsets over a set of features with enough sharing pairs, `[C, k]`, or None.

    Args:
        members: indices of the selected features, `[n]`.
        progress: the clock; after its limit the first rows with enough pairs are taken unchanged.
    """
    assignment = PairAssignment(problem, members, progress)
    choice = assignment.best_choice()
    return None if choice is None else assignment.subsets[choice]


class PairAssignment:
    """Classes that choose among common candidate subsets of the selected features `members`, `[n]`."""

    def __init__(self, problem: SelectionProblem, members: np.ndarray, progress: Progress):
        self.progress = progress
        self.required = problem.n_required_pairs
        values, k = problem.gain[:, members], problem.n_per_class
        distinct = distinct_subsets(values, k)
        cluster, gathered = clustered_subsets(values, problem)
        candidates = {tuple(row) for start in (distinct, cluster) for row in start.tolist()}
        candidates |= own_candidates(values, k)
        self.subsets = np.array(sorted(candidates))  # (N, k)
        weight = weight_of(self.subsets, len(members)).astype(np.float32)
        self.value = values @ weight.T  # (C, N)
        self.sharing = (weight @ weight.T == k - 1).astype(np.float32)  # (N, N)
        by_priority = np.argsort(~gathered, kind="stable")
        self.starts = [self._distinct_choice(start, by_priority) for start in (distinct, cluster)]
        self.named: list[list[int]] = [[] for _ in range(len(values))]
        for c, d in problem.named_pairs:
            self.named[c].append(d)
            self.named[d].append(c)

    def _distinct_choice(self, subsets: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Candidate of every class, in this order: its subset, or its best free one."""
        index = {tuple(subset): i for i, subset in enumerate(self.subsets.tolist())}
        choice = np.zeros(len(subsets), dtype=np.int64)
        taken = np.zeros(len(self.subsets), dtype=bool)
        for c in order:
            i = index[tuple(subsets[c].tolist())]
            if taken[i]:
                i = int(np.where(taken, -FORBIDDEN, self.value[c]).argmax())
            choice[c], taken[i] = i, True
        return choice

    def total(self, choice: np.ndarray) -> float:
        """Value of all classes."""
        return float(self.value[np.arange(len(choice)), choice].sum())

    def count(self, choice: np.ndarray) -> int:
        """Number of pairs that share k - 1 features."""
        return int(self.sharing[np.ix_(choice, choice)].sum()) // 2

    def best_choice(self) -> np.ndarray | None:
        """Best choice found with enough pairs, or None."""
        first, cluster = self.starts
        enough = [choice for choice in (first, cluster) if self.count(choice) >= self.required]
        if self.count(first) < self.required:
            enough += self._priced(first)
        polished = [self.respond(choice, 0.0, self.required) for choice in enough]
        return max(polished, key=self.total, default=None)

    def _priced(self, start: np.ndarray) -> list[np.ndarray]:
        """Choices with enough pairs, at decreasing prices; none if no price yields enough."""
        ordered = np.partition(self.value, -2, axis=1)
        low, price = 0.0, float((ordered[:, -1] - ordered[:, -2]).mean())
        highest = float(np.ptp(self.value))
        choice = start
        while self.count(choice) < self.required:
            if low > highest or self.progress.expired:
                return []
            choice = self.respond(choice, price)
            low, price = price, 2 * price + PREFERENCE
        enough, low, high = [choice], low / 2, low
        for _ in range(BISECTIONS):
            if self.progress.expired:
                break
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
            price: reward of every pair.
            keep: a class moves only if at least this many pairs remain.
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
                partners = n_sharing - self.sharing[old]
                score = self.value[c] + price * partners
                if self.named[c]:
                    score += PREFERENCE * with_named
                current = score[old]
                score[taken] = -FORBIDDEN
                if keep:
                    score[partners < keep - n_pairs + partners[old]] = -FORBIDDEN
                new = int(score.argmax())
                if score[new] > current + PREFERENCE / 10:
                    choice[c] = new
                    taken[old], taken[new] = False, True
                    n_sharing += self.sharing[new] - self.sharing[old]
                    n_pairs += int(partners[new] - partners[old])
                    moved = True
            if not moved or self.progress.expired:
                break
        return choice


def own_candidates(values: np.ndarray, n_per_class: int) -> set[tuple[int, ...]]:
    """The best few subsets of every class."""
    per_class = max(MAX_CANDIDATES // len(values), 2)
    rankings = (islice(ranked_subsets(own, n_per_class), per_class) for own in values)
    return {subset for ranking in rankings for _, subset in ranking}


def clustered_subsets(values: np.ndarray, problem: SelectionProblem) -> tuple[np.ndarray, np.ndarray]:
    """Subsets of the classes when as many as needed gather around one core of k - 1 features.

    All others keep their best subset, which may repeat.

    Args:
        values: value of every selected feature for every class, `[C, n]`.
        problem: its pair rule is kept if there are enough features.

    Returns:
        Subsets `[C, k]`, and whether a class has gathered, `[C]`.
    """
    k = problem.n_per_class
    subsets = best_subsets(values, k)
    group = cheapest_group(values, k, problem.n_required_pairs)
    gathered = np.zeros(len(values), dtype=bool)
    if 1 < len(group) <= values.shape[1] - k + 1:
        subsets[group] = gather(values[group], k)
        gathered[group] = True
    return subsets, gathered


def cheapest_group(values: np.ndarray, n_per_class: int, required: int) -> np.ndarray:
    """As many classes as needed, those that lose least by gathering around one core of k - 1 features."""
    n_classes, n = values.shape
    size = int(np.ceil((1 + np.sqrt(1 + 8 * required)) / 2))  # size (size - 1) / 2 >= required
    size = min(size, n - n_per_class + 1, n_classes)
    subsets = best_subsets(values, n_per_class)
    best = np.take_along_axis(values, subsets, axis=1).sum(axis=1)
    found = {core for row in subsets.tolist() for core in combinations(row, n_per_class - 1)}
    cores = np.array(sorted(found), dtype=np.int64)
    # At best a class keeps all but its weakest feature: good enough to rank the cores.
    strongest = best - np.take_along_axis(values, subsets, axis=1).min(axis=1)
    loss = strongest[:, None] - values @ weight_of(cores, n).T  # (C, cores)
    promise = np.partition(loss, size - 1, axis=0)[:size].sum(axis=0)
    least, group = np.inf, None
    for core in cores[np.argsort(promise)[:MAX_CORES]]:
        extra = values.copy()
        extra[:, core] = -np.inf
        loss = best - values[:, core].sum(axis=1) - extra.max(axis=1)
        nearest = np.argpartition(loss, size - 1)[:size]
        if loss[nearest].sum() < least:
            least, group = loss[nearest].sum(), nearest
    return group
