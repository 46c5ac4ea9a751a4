"""Best features for every class among the selected ones, such that no two classes use the same set.

Without that rule every class takes its k best features. Classes that collide are assigned together: a linear assignment
of classes to their best few subsets, where each class may also escape to a private subset worth as much as its next
best one. An assignment in which no class escapes is optimal; otherwise each escaping class gets one more subset.
"""

import heapq
from collections.abc import Iterator, Set
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import linear_sum_assignment

FORBIDDEN = 1e9
# Up to this many subsets, all of them are assigned at once.
MAX_SUBSETS = 1000
# Features among which a common core is sought, beyond the k - 1 that it has.
SPARE_FEATURES = 3


def ranked_subsets(values: np.ndarray, n_per_class: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """All k-subsets of a class's values `[n]`, best first, as (loss against the best, sorted indices)."""
    order = np.argsort(-values, kind="stable").tolist()
    ranked = values[order].tolist()
    first = tuple(range(n_per_class))
    waiting, seen = [(0.0, first)], {first}
    while waiting:
        loss, ranks = heapq.heappop(waiting)
        yield loss, tuple(sorted(order[rank] for rank in ranks))
        for position, rank in enumerate(ranks):
            following = ranks[position + 1] if position + 1 < n_per_class else len(ranked)
            if rank + 1 < following:
                worse = (*ranks[:position], rank + 1, *ranks[position + 1 :])
                if worse not in seen:
                    seen.add(worse)
                    heapq.heappush(waiting, (loss + ranked[rank] - ranked[rank + 1], worse))


def best_subsets(values: np.ndarray, n_per_class: int) -> np.ndarray:
    """The k best features of every class, sorted, `[C, n]` -> `[C, k]`; rows may repeat."""
    return np.sort(np.argpartition(-values, n_per_class - 1, axis=1)[:, :n_per_class], axis=1)


def distinct_subsets(values: np.ndarray, n_per_class: int, taken: Set[tuple[int, ...]] = frozenset()) -> np.ndarray:
    """The subsets, one per class and all different, with the largest total value.

    Args:
        values: value of every selected feature for every class, `[C, n]`.
        taken: subsets that no class may have.

    Returns:
        Sorted indices into the selected features, `[C, k]`.
    """
    subsets = best_subsets(values, n_per_class)
    takers = takers_of(subsets)
    contested = {s: classes for s, classes in takers.items() if len(classes) > 1 or s in taken}
    n_features = values.shape[1]
    if contested and comb(n_features, n_per_class) <= MAX_SUBSETS:
        every, weight = all_subsets(n_features, n_per_class)
        free = np.array([subset not in taken for subset in map(tuple, every.tolist())])
        _, chosen = linear_sum_assignment(values @ weight[free].T, maximize=True)
        return every[free][chosen]
    competition = Competition(values, n_per_class, takers, taken)
    for classes in contested.values():
        for c in classes:
            competition.join(c)
    for c, subset in competition.settle():
        subsets[c] = subset
    return subsets


def takers_of(subsets: np.ndarray) -> dict[tuple[int, ...], list[int]]:
    """The classes of every subset, from the subset of every class `[C, k]`."""
    takers: dict[tuple[int, ...], list[int]] = {}
    for c, subset in enumerate(map(tuple, subsets.tolist())):
        takers.setdefault(subset, []).append(c)
    return takers


class Competition:
    """The classes that compete for subsets, each with its best few."""

    def __init__(self, values, n_per_class, takers, taken):
        self.values, self.n_per_class = values, n_per_class
        self.takers, self.taken = takers, taken
        self.ranking: dict[int, Iterator] = {}
        self.wishes: dict[int, list] = {}  # the last wish of a class is its escape

    def join(self, c: int) -> None:
        """Let class c compete, and every class whose best subset it may take."""
        if c not in self.wishes:
            ranking = ranked_subsets(self.values[c], self.n_per_class)
            self.ranking[c] = (wish for wish in ranking if wish[1] not in self.taken)
            self.wishes[c] = [next(self.ranking[c])]
            self.extend(c)

    def extend(self, c: int) -> None:
        """Turn the escape of class c into a real subset and add the next one as its escape."""
        _, contested = self.wishes[c][-1]
        self.wishes[c].append(next(self.ranking[c], (FORBIDDEN, ())))
        for other in self.takers.get(contested, ()):
            self.join(other)

    def settle(self) -> list[tuple[int, tuple[int, ...]]]:
        """(class, subset) of every competing class in the best assignment."""
        while self.wishes:
            classes = list(self.wishes)
            column: dict[tuple, int] = {}
            for c in classes:
                for _, subset in self.wishes[c][:-1]:
                    column.setdefault(subset, len(column))
            loss = np.full((len(classes), len(column) + len(classes)), FORBIDDEN)
            for row, c in enumerate(classes):
                for subset_loss, subset in self.wishes[c][:-1]:
                    loss[row, column[subset]] = subset_loss
                loss[row, len(column) + row] = self.wishes[c][-1][0]
            _, chosen = linear_sum_assignment(loss)
            escaped = [c for c, j in zip(classes, chosen, strict=True) if j >= len(column)]
            if not escaped:
                subsets = list(column)
                return [(c, subsets[j]) for c, j in zip(classes, chosen, strict=True)]
            for c in escaped:
                self.extend(c)
        return []


def gather(values: np.ndarray, n_per_class: int, taken: Set[tuple[int, ...]] = frozenset()) -> np.ndarray | None:
    """Subsets made of a common core of k - 1 features and one more, which differs between classes.

    Args:
        values: value of every selected feature for the classes, `[C, n]`.
        taken: subsets that no class may have.

    Returns:
        `[C, k]`, or None if there are not enough features.
    """
    n = values.shape[1]
    count = min(n_per_class - 1 + SPARE_FEATURES, n)
    pool = best_subsets(values.sum(axis=0, keepdims=True), count)[0].tolist()
    best, most = None, -FORBIDDEN / 2
    for core in map(list, combinations(pool, n_per_class - 1)):
        extra = values.copy()
        extra[:, core] = -FORBIDDEN
        extra[:, [f for f in range(n) if tuple(sorted([*core, f])) in taken]] = -FORBIDDEN
        rows, columns = linear_sum_assignment(extra, maximize=True)
        total = values[:, core].sum() + extra[rows, columns].sum()
        if len(rows) == len(values) and total > most:
            best, most = [sorted([*core, f]) for f in columns.tolist()], total
    return None if best is None else np.array(best)


@lru_cache(maxsize=4)
def all_subsets(n_features: int, n_per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """All subsets of `n_per_class` features `[N, k]`, and their 0/1 matrix `[N, n]`."""
    subsets = np.array(list(combinations(range(n_features), n_per_class)))
    return subsets, weight_of(subsets, n_features)


def weight_of(subsets: np.ndarray, n_features: int) -> np.ndarray:
    """0/1 matrix `[C, n_features]` of the subsets `[C, k]`."""
    weight = np.zeros((len(subsets), n_features))
    np.put_along_axis(weight, subsets, 1.0, axis=1)
    return weight
