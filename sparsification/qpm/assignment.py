"""Best features for every class among the selected ones, without two classes using the same set.

Without that rule every class takes its k best features. Classes that collide are assigned together:
a linear assignment of classes to their best few subsets, where each class may also escape to a
private subset worth as much as its next best one. An assignment in which nobody escapes is optimal;
otherwise those who escape get one more subset.
"""

import heapq
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from scipy.optimize import linear_sum_assignment

FORBIDDEN = 1e9
# Number of subsets up to which all of them are assigned at once.
MAX_SUBSETS = 1000


def ranked_subsets(values: np.ndarray, n_per_class: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """All subsets of `n_per_class` entries, best first, as (loss against the best, sorted indices).

    Args:
        values: value of every feature for one class, `[n]`.
        n_per_class: size of the subsets.
    """
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


def distinct_subsets(values: np.ndarray, n_per_class: int) -> np.ndarray:
    """The subsets, one per class and all different, of the largest total value.

    Args:
        values: value of every selected feature for every class, `[C, n]`.
        n_per_class: size of the subsets k.

    Returns:
        Sorted indices into the selected features, `[C, k]`.
    """
    subsets = best_subsets(values, n_per_class)
    takers = takers_of(subsets)
    n_features = values.shape[1]
    if len(takers) < len(values) and comb(n_features, n_per_class) <= MAX_SUBSETS:
        every, weight = all_subsets(n_features, n_per_class)
        _, chosen = linear_sum_assignment(values @ weight.T, maximize=True)
        return every[chosen]
    competition = Competition(values, n_per_class, takers)
    for classes in takers.values():
        if len(classes) > 1:
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
    """The classes whose wishes meet, each with its best few subsets."""

    def __init__(self, values, n_per_class, takers):
        self.values, self.n_per_class, self.takers = values, n_per_class, takers
        self.ranking: dict[int, Iterator] = {}
        self.wishes: dict[int, list] = {}  # the last wish of a class is its escape

    def join(self, c: int) -> None:
        """Let class c compete, and with it every class whose best subset it may take."""
        if c not in self.wishes:
            self.ranking[c] = ranked_subsets(self.values[c], self.n_per_class)
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
