"""Redundancy from which a pair of selected features is penalised (QPM, arXiv 2502.20130).

The paper takes the smallest threshold at which `n_features` mutually less redundant features can still be found, an
independent set in the graph of redundant pairs. The published code tries a grid of thresholds with a clique heuristic
and so finds higher ones (`published_threshold.py`: 0.374 instead of 0.319 on StanfordCars); a complete clique search
takes minutes. Here a tabu search over sets of that fixed size (Wu and Hao, "An adaptive multistart tabu search approach
to solve the maximum clique problem", 2013) removes all conflicts, lowers the threshold to the largest redundancy left,
and repeats.
"""

from collections.abc import Iterator

import numpy as np

# Swaps without improvement before a search restarts, per feature in the pool.
PATIENCE_PER_FEATURE = 10
# Restarts at one threshold before it counts as out of reach.
RESTARTS = 5
# Swaps of the whole search, per feature in the pool and at least: about a second for the 512 features of a ResNet-18,
# four for the 2048 of a ResNet-50. Not a time, so that no machine finds another threshold.
SWAPS_PER_FEATURE, MIN_SWAPS = 50, 30_000


def redundancy_threshold(redundancy: np.ndarray, n_features: int) -> float:
    """Smallest threshold found at which `n_features` mutually less redundant features exist.

    Args:
        redundancy: redundancy of every pair of features, symmetric, zero diagonal, `[F, F]`.
        n_features: size of the set, at most F.

    Returns:
        The threshold, halfway between the largest redundancy inside the set found and the next larger one, so that
        rounding has no effect. Infinite if the set may hold even the most redundant pair: then nothing is penalised.
    """
    members = least_redundant_features(redundancy, n_features)
    largest = redundancy[np.ix_(members, members)].max(initial=0.0)
    above = redundancy[redundancy > largest]
    return float((largest + above.min()) / 2) if len(above) else np.inf


def least_redundant_features(redundancy: np.ndarray, n_features: int) -> np.ndarray:
    """The `n_features` features whose most redundant pair is the least redundant found."""
    rng = np.random.default_rng(0)
    swaps_left = iter(range(max(SWAPS_PER_FEATURE * len(redundancy), MIN_SWAPS)))
    members = spread_out_start(redundancy, n_features)
    while True:
        largest = redundancy[np.ix_(members, members)].max(initial=0.0)
        if largest == 0.0:
            return members
        conflicts = (redundancy >= largest).astype(np.int16)
        start = members
        for _ in range(RESTARTS):
            found = independent_set(conflicts, start, rng, swaps_left)
            if found is not None:
                break
            start = rng.permutation(len(redundancy))[:n_features]
        if found is None:
            return members
        members = found


def spread_out_start(redundancy: np.ndarray, n_features: int) -> np.ndarray:
    """Greedy set: starts with the least redundant feature and always adds the one least redundant with the set."""
    members = [int(redundancy.sum(axis=1).argmin())]
    nearest = redundancy[members[0]].copy()
    for _ in range(n_features - 1):
        nearest[members] = np.inf
        members.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, redundancy[members[-1]])
    return np.array(members)


def independent_set(
    conflicts: np.ndarray, start: np.ndarray, rng: np.random.Generator, swaps_left: Iterator[int]
) -> np.ndarray | None:
    """Members of a set as large as `start` without conflict, or None if none is found with the swaps left.

    Every step swaps the member with the most conflicts for the outsider with the fewest; a feature that was just moved
    rests for as many steps as there are conflicts left (at most 10) plus a random few.

    Args:
        conflicts: 0/1, symmetric, zero diagonal, `[F, F]`.
        start: the first set tried, indices.
    """
    size = len(conflicts)
    inside = np.zeros(size, dtype=bool)
    inside[start] = True
    degree = conflicts[start].sum(axis=0, dtype=np.int16)  # conflicts of each feature with members
    total = fewest = int(degree[start].sum()) // 2
    resting_until = np.zeros(size, dtype=np.int64)
    spread = max(len(start) // 40, 6)
    step = last_gain = 0
    barred = np.int16(np.iinfo(np.int16).max)
    while total and step - last_gain < PATIENCE_PER_FEATURE * size:
        if next(swaps_left, None) is None:
            return None
        free = resting_until <= step
        outside_degree = np.where(free & ~inside, degree, barred)
        inside_degree = np.where(free & inside, degree, -1)
        least, most = outside_degree.min(), inside_degree.max()
        step += 1
        if least == barred or most < 0:
            continue  # all features of one side are resting
        leave = random_entry(np.flatnonzero(inside_degree == most), rng)
        enter = entering_feature(conflicts[leave], np.flatnonzero(outside_degree == least), rng)
        total += int(degree[enter]) - int(degree[leave]) - int(conflicts[leave, enter])
        degree += conflicts[enter]
        degree -= conflicts[leave]
        inside[leave], inside[enter] = False, True
        rest = min(total, 10)
        resting_until[leave] = step + rest + int(rng.random() * spread)
        resting_until[enter] = step + int(0.6 * rest) + int(0.6 * rng.random() * spread)
        if total < fewest:
            fewest, last_gain = total, step
    return np.flatnonzero(inside) if total == 0 else None


def entering_feature(conflicts: np.ndarray, candidates: np.ndarray, rng: np.random.Generator) -> int:
    """A random candidate, if possible one in conflict with the leaving feature."""
    freed = candidates[conflicts[candidates] > 0]
    return random_entry(freed if len(freed) else candidates, rng)


def random_entry(values: np.ndarray, rng: np.random.Generator) -> int:
    """One entry at random (`rng.choice` is several times slower on short arrays)."""
    return int(values[int(rng.random() * len(values))])
