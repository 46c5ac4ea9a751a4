"""Tabu search over sets of features.

The search moves from set to set by the best swap that is not tabu, valued without the rules that tie classes together
(distinct rows, sharing pairs). That value is an upper bound on the objective with these rules, so the exact assignment
is computed only for sets that could still beat the best. After a while without gain the walk restarts from the best
set, perturbed ("kicked") by some random swaps.
"""

import heapq
from collections.abc import Callable

import numpy as np

from sparsification.qpm.assignment import distinct_subsets
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress, describe_search
from sparsification.qpm.search.neighbourhood import SwapNeighbourhood

# Steps without a better value, per selected feature, before the walk is kicked, and kicks without a better set before
# the search ends.
STEPS_PER_FEATURE = 4
KICKS_WITHOUT_GAIN = 12
# Steps a feature rests after it entered / left the set: at least this many, at most twice as many.
REST_INSIDE, REST_OUTSIDE = 5, 10
# Values are compared in float32; differences below this are rounding errors.
ROUNDING = 1e-4


class ElitePool:
    """The best sets of features with their value under the distinct-rows rule.

    Args:
        capacity: how many sets are kept.
        improved: called with the value of every new best set.
    """

    def __init__(self, problem: SelectionProblem, capacity: int, improved: Callable[[float], None]):
        self.problem, self.capacity, self.improved = problem, capacity, improved
        self.sets: list[tuple[float, tuple[int, ...]]] = []  # a heap, the worst first
        self.seen: set[tuple[int, ...]] = set()
        self.gained = False

    @property
    def bar(self) -> float:
        """Value that a set has to exceed to enter the pool."""
        return self.sets[0][0] if len(self.sets) == self.capacity else -np.inf

    @property
    def best(self) -> float:
        """Value of the best set."""
        return max((value for value, _ in self.sets), default=-np.inf)

    def offer(self, members: np.ndarray, value: float) -> None:
        """Keep a set if it is among the best; `value` is without the rules that tie classes."""
        key = tuple(sorted(members.tolist()))
        if value <= self.bar - ROUNDING or key in self.seen:
            return
        self.seen.add(key)
        value, best_before = distinct_value(self.problem, np.array(key)), self.best
        if value > self.bar:
            add = heapq.heappush if len(self.sets) < self.capacity else heapq.heapreplace
            add(self.sets, (value, key))
        if value > best_before:
            self.gained = True
            self.improved(value)

    def settle(self) -> bool:
        """End of a walk: whether it has found a new best set."""
        gained, self.gained = self.gained, False
        return gained

    def ranked(self) -> list[tuple[float, np.ndarray]]:
        """The sets with their values, best first."""
        return [(value, np.array(key)) for value, key in sorted(self.sets, reverse=True)]


def distinct_value(problem: SelectionProblem, members: np.ndarray) -> float:
    """Objective of the best distinct rows over a set of features, without the pair rule."""
    values = problem.gain[:, members]
    subsets = distinct_subsets(values, problem.n_per_class)
    return float(np.take_along_axis(values, subsets, axis=1).sum()) + problem.set_value(members)


def explore(
    neighbourhood: SwapNeighbourhood,
    pool,
    progress: Progress,
    rng: np.random.Generator,
    *,
    time_share: float,
    kicks: int = KICKS_WITHOUT_GAIN,
) -> None:
    """Walk from a random set, then repeatedly from the best one, kicked, until there is no more gain.

    Args:
        pool: is offered every set of the walks; tells after each walk whether there was a gain.
        time_share: share of the time limit after which to stop.
        kicks: how many in a row may gain nothing.
    """
    pool_size, n_features = neighbourhood.gain.shape[1], pool.problem.n_features
    start = rng.permutation(pool_size)[:n_features]
    without_gain = 0
    while True:
        walk(neighbourhood, start, pool, progress, time_share, rng)
        without_gain = 0 if pool.settle() else without_gain + 1
        if without_gain == kicks or progress.spent(time_share):
            return
        start = kicked(pool.ranked()[0][1], pool_size, rng)


def walk(
    neighbourhood: SwapNeighbourhood,
    start: np.ndarray,
    pool,
    progress: Progress,
    time_share: float,
    rng: np.random.Generator,
) -> None:
    """Tabu walk until it finds nothing better for a while."""
    neighbourhood.move_to(start)
    n, pool_size = len(start), neighbourhood.gain.shape[1]
    resting_until = np.zeros(pool_size, dtype=np.int64)
    rest_inside, rest_outside = min(REST_INSIDE, n // 3), min(REST_OUTSIDE, (pool_size - n) // 3)
    best_value = -np.inf
    step = last_gain = 0
    while True:
        value, change = neighbourhood.evaluate()
        members = neighbourhood.selected
        if value > best_value + ROUNDING:
            best_value, last_gain = value, step
        pool.offer(members, value)
        progress.report(describe_search(value, pool.best))
        converged = n == pool_size or step - last_gain >= STEPS_PER_FEATURE * n
        if converged or progress.spent(time_share):
            return
        leaving, entering = best_swap(change, resting_until > step, members, best_value - value)
        step += 1
        resting_until[members[leaving]] = step + rest_outside * (1 + rng.random())
        resting_until[entering] = step + rest_inside * (1 + rng.random())
        neighbourhood.swap(leaving, entering)


def best_swap(change: np.ndarray, resting: np.ndarray, members: np.ndarray, aspiration: float) -> tuple[int, int]:
    """Position of the leaving and index of the entering feature in the best swap without resting features.

    A swap that leads to a new record is taken even if its features rest.
    """
    allowed = np.where(resting[members][:, None] | resting, -np.inf, change)
    best = np.unravel_index(allowed.argmax(), change.shape)
    record = np.unravel_index(change.argmax(), change.shape)
    if change[record] > aspiration + ROUNDING or not np.isfinite(allowed[best]):
        best = record
    return int(best[0]), int(best[1])


def kicked(members: np.ndarray, pool_size: int, rng: np.random.Generator) -> np.ndarray:
    """The set with up to a quarter of its features, at least one, replaced at random."""
    outside = np.setdiff1d(np.arange(pool_size), members)
    count = min(int(rng.integers(1, max(len(members) // 4, 1) + 1)), len(outside))
    replaced = members.copy()
    positions = rng.permutation(len(members))[:count]
    replaced[positions] = rng.permutation(outside)[:count]
    return replaced
