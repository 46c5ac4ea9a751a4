"""Tabu search over sets of features: our solver for the selection problem.

The search walks over sets by the best swap that is not tabu, valued without the rules that tie
classes together (distinct rows, sharing pairs). That value is an upper bound on the objective with
these rules, so the exact assignment is computed only for sets that could still beat the best. After
a while without gain the walk starts over from an elite set, kicked by some random swaps.
"""

import heapq
import logging

import numpy as np

from configs.errors import RunError
from sparsification.qpm.assignment import distinct_subsets
from sparsification.qpm.exact import TooLargeError, optimise
from sparsification.qpm.neighbourhood import SwapNeighbourhood
from sparsification.qpm.pair_rule import sharing_subsets
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.selection import Incumbent, incumbent_of

logger = logging.getLogger(__name__)

# Steps without a better value, per selected feature, before the walk is kicked, and kicks without a
# better set before the search ends.
STEPS_PER_FEATURE = 4
KICKS_WITHOUT_GAIN = 12
# Steps a feature rests after it entered / left the set: at least this many, at most twice as many.
REST_INSIDE, REST_OUTSIDE = 5, 10
# Sets whose rows are tried under the pair rule.
N_ELITE = 6
# Share of the time for the search over sets when the pair rule still follows.
SHARE_BEFORE_PAIRS = 0.7
# Features up to which branch and bound is tried after the search.
MAX_PROVEN_POOL = 128
# Values are compared in float32; differences below this are rounding.
ROUNDING = 1e-4


class ElitePool:
    """The best sets of features with their value under the distinct-rows rule.

    Args:
        problem: values the sets.
        capacity: how many sets are kept.
    """

    def __init__(self, problem: SelectionProblem, capacity: int):
        self.problem, self.capacity = problem, capacity
        self.sets: list[tuple[float, tuple[int, ...]]] = []  # a heap, the worst first
        self.seen: set[tuple[int, ...]] = set()

    @property
    def bar(self) -> float:
        """Value that a set has to exceed to enter the pool."""
        return self.sets[0][0] if len(self.sets) == self.capacity else -np.inf

    @property
    def best(self) -> float:
        """Value of the best set."""
        return max((value for value, _ in self.sets), default=-np.inf)

    def offer(self, members: np.ndarray) -> bool:
        """Value a set and keep it if it is among the best; True if it is the best of all."""
        key = tuple(sorted(members.tolist()))
        if key in self.seen:
            return False
        self.seen.add(key)
        value = distinct_value(self.problem, np.array(key))
        best_before = self.best
        if value > self.bar:
            add = heapq.heappush if len(self.sets) < self.capacity else heapq.heapreplace
            add(self.sets, (value, key))
        return value > best_before

    def ranked(self) -> list[tuple[float, np.ndarray]]:
        """The sets with their values, best first."""
        return [(value, np.array(key)) for value, key in sorted(self.sets, reverse=True)]


def distinct_value(problem: SelectionProblem, members: np.ndarray) -> float:
    """Objective of the best distinct rows over a set of features, without the pair rule."""
    values = problem.gain[:, members]
    subsets = distinct_subsets(values, problem.n_per_class)
    return float(np.take_along_axis(values, subsets, axis=1).sum()) + problem.set_value(members)


def search_feature_sets(problem: SelectionProblem, progress: Progress, seed: int) -> ElitePool:
    """The best sets of features that the tabu search meets.

    Args:
        problem: what to maximise.
        progress: the clock.
        seed: of all random choices.
    """
    rng = np.random.default_rng(seed)
    pool = ElitePool(problem, N_ELITE if problem.n_required_pairs else 1)
    neighbourhood = SwapNeighbourhood(
        problem.gain, problem.penalty, problem.bias, problem.n_per_class
    )
    start = rng.permutation(problem.pool_size)[: problem.n_features]
    time_share = SHARE_BEFORE_PAIRS if problem.n_required_pairs else 1.0
    kicks_without_gain = 0
    while True:
        gained = walk(neighbourhood, start, pool, progress, time_share, rng)
        kicks_without_gain = 0 if gained else kicks_without_gain + 1
        if kicks_without_gain == KICKS_WITHOUT_GAIN or progress.spent(time_share):
            return pool
        start = kicked(pool.ranked()[0][1], problem.pool_size, rng)


def walk(
    neighbourhood: SwapNeighbourhood,
    start: np.ndarray,
    pool: ElitePool,
    progress: Progress,
    time_share: float,
    rng: np.random.Generator,
) -> bool:
    """Tabu walk until it finds nothing better for a while; True if it improved the pool's best."""
    neighbourhood.move_to(start)
    n, pool_size = len(start), neighbourhood.gain.shape[1]
    resting_until = np.zeros(pool_size, dtype=np.int64)
    rest_inside, rest_outside = min(REST_INSIDE, n // 3), min(REST_OUTSIDE, (pool_size - n) // 3)
    best_value, gained = -np.inf, False
    step = last_gain = 0
    while True:
        value, change = neighbourhood.evaluate()
        members = neighbourhood.selected
        if value > best_value + ROUNDING:
            best_value, last_gain = value, step
        if value > pool.bar - ROUNDING and pool.offer(members):
            gained = True
            if not pool.problem.n_required_pairs:
                progress.improved(pool.best)
        progress.report(f"objective {value:.3f}, best {pool.best:.3f}")
        converged = n == pool_size or step - last_gain >= STEPS_PER_FEATURE * n
        if converged or progress.spent(time_share):
            return gained
        leaving, entering = best_swap(change, resting_until > step, members, best_value - value)
        step += 1
        resting_until[members[leaving]] = step + rest_outside * (1 + rng.random())
        resting_until[entering] = step + rest_inside * (1 + rng.random())
        neighbourhood.swap(leaving, entering)


def best_swap(
    change: np.ndarray, resting: np.ndarray, members: np.ndarray, aspiration: float
) -> tuple[int, int]:
    """Position that leaves and feature that enters: the best swap without resting features.

    A swap that leads to a record is taken even if its features rest.
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


def search(problem: SelectionProblem, progress: Progress, seed: int) -> tuple[Incumbent, float]:
    """Best selection found by tabu search, and its objective as the bound where it is proven.

    Raises:
        RunError: if no selection with enough sharing pairs was found.
    """
    pool = search_feature_sets(problem, progress, seed)
    best = best_of_pool(problem, pool, progress)
    proven = False
    if problem.pool_size <= MAX_PROVEN_POOL:
        try:
            best = optimise(problem, best, progress)
            proven = True
        except TooLargeError:
            logger.debug("too large to be proven optimal by branch and bound")
    if best is None:
        raise RunError(
            f"No selection found in which {problem.n_required_pairs} {problem.pairs} pairs of "
            f"classes share {problem.n_per_class - 1} features; lower the pair density"
            + (" or take --pairs any" if problem.pairs == "named" else "")
        )
    return best, best.objective if proven else np.inf


def best_of_pool(
    problem: SelectionProblem, pool: ElitePool, progress: Progress
) -> Incumbent | None:
    """The best selection over the elite sets under all rules; None if each fails the pair rule."""
    best = None
    for value, members in pool.ranked():
        if best and (value <= best.objective or progress.expired):
            break
        subsets = feasible_subsets(problem, members, progress)
        if subsets is None:
            continue
        incumbent = incumbent_of(problem, members, subsets)
        if best is None or incumbent.objective > best.objective:
            best = incumbent
            progress.improved(best.objective)
    return best


def feasible_subsets(
    problem: SelectionProblem, members: np.ndarray, progress: Progress
) -> np.ndarray | None:
    """Features of every class that keep the rules, `[C, k]`; None if too few pairs share."""
    if not problem.n_required_pairs:
        return distinct_subsets(problem.gain[:, members], problem.n_per_class)
    return sharing_subsets(problem, members, progress)
