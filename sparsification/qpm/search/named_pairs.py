"""Search when named pairs of classes must share exactly k - 1 features (`pairs="named"`).

Multipliers price the rule: they decouple the classes in named pairs into one score per feature, so that the tabu search
walks as fast as without the rule (all other classes are valued exactly). The most valuable sets of a walk are valued
by the linear programs of `named_rows`, which know the rule. The first prices are the certificate's, for all sets at
once; after every walk they move towards those of the programs over its best set, where the score is exact. In the end
the best sets are improved swap by swap.
"""

import heapq

import numpy as np

from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress, describe_search
from sparsification.qpm.proofs.bound import Certificate
from sparsification.qpm.proofs.lagrangian import Lagrangian, Multipliers
from sparsification.qpm.search.named_rows import NamedRows
from sparsification.qpm.search.neighbourhood import SwapNeighbourhood
from sparsification.qpm.search.tabu import explore
from sparsification.qpm.selection import Incumbent, PairsImpossibleError, best_of

# Kicks without a better set.
KICKS_WITHOUT_GAIN = 8
# How far the prices move after a walk towards those of its best set.
PRICE_STEP = 0.2
# Numbers of sets per walk and of swaps per set that are valued with the rule, of sets that are improved, and of sets
# whose rows are found in the end.
SETS_PER_WALK = 4
SWAPS = 20
N_IMPROVED = 3
N_ELITE = 2
# Shares of the time after which prices, walks and improvements end.
SHARE_PRICES, SHARE_WALKS, SHARE_SWAPS = 0.3, 0.6, 0.75


def named_search(
    problem: SelectionProblem, certificate: Certificate, progress: Progress, rng: np.random.Generator
) -> Incumbent | None:
    """Best selection found, None if the pairs share in none; PairsImpossibleError if it is proved that they cannot."""
    rows = NamedRows(problem)
    impossible = rows.impossible_component(progress)
    if impossible is not None:
        n, k = problem.n_features, problem.n_per_class
        raise PairsImpossibleError(
            f"it is proved that {len(impossible.pairs)} named pairs among {len(impossible.classes)} similar classes "
            f"cannot all share all but one of their {k} features (of {n} in all); "
            "raise --n_features or use --pairs any"
        )
    prices = certificate.first_prices(progress, time_share=SHARE_PRICES)
    priced = PricedSwaps(problem, certificate.lagrangian, prices)
    pool = NamedPool(rows, priced, progress)
    explore(priced.neighbourhood, pool, progress, rng, time_share=SHARE_WALKS, kicks=KICKS_WITHOUT_GAIN)
    for _, members in pool.ranked()[:N_IMPROVED]:
        climb(priced, pool, members, progress)
    return best_of(problem, pool.ranked()[:N_ELITE], lambda members: rows.assign(members, progress), progress)


class PricedSwaps:
    """Swaps valued exactly for the classes in no named pair, by scores for all others."""

    def __init__(self, problem: SelectionProblem, lagrangian: Lagrangian, prices: Multipliers):
        self.problem, self.lagrangian = problem, lagrangian
        free, k = problem.gain[lagrangian.free], problem.n_per_class
        self.neighbourhood = SwapNeighbourhood(free, problem.penalty, problem.bias, k)
        self.take(prices)

    def take(self, prices: Multipliers) -> None:
        """Use these prices from now on."""
        self.prices = prices
        scores = self.lagrangian.component_scores(self.problem.gain, prices)
        constant = self.lagrangian.component_constant(prices)
        self.neighbourhood.value_by(self.problem.bias + scores, constant)

    def approach(self, target: Multipliers) -> None:
        """Move the prices by `PRICE_STEP` towards others."""
        before = self.prices
        self.take(
            Multipliers(
                before.classes + PRICE_STEP * (target.classes - before.classes),
                before.pairs + PRICE_STEP * (target.pairs - before.pairs),
            )
        )


class NamedPool:
    """Sets of features from all walks, the most promising ones valued with the rule.

    Args:
        priced: its prices follow the best sets.
        progress: the clock; after its share only the best set of a walk is valued.
    """

    def __init__(self, rows: NamedRows, priced: PricedSwaps, progress: Progress):
        self.problem, self.progress = rows.problem, progress
        self.rows, self.priced = rows, priced
        self.values: dict[tuple[int, ...], float] = {}
        self.met: list[tuple[float, tuple[int, ...]]] = []  # a heap, the worst first

    @property
    def best(self) -> float:
        """Value of the best set."""
        return max(self.values.values(), default=-np.inf)

    def offer(self, members: np.ndarray, value: float) -> None:
        """Remember a set of a walk if its priced value is among the walk's best."""
        full = len(self.met) == SETS_PER_WALK
        if full and value <= self.met[0][0]:
            return
        entry = (value, tuple(sorted(members.tolist())))
        if entry[1] not in self.values and entry not in self.met:
            (heapq.heapreplace if full else heapq.heappush)(self.met, entry)

    def settle(self) -> bool:
        """End of a walk: value its best sets and move the prices; returns whether a set is the best of all walks."""
        best_before, best, most = self.best, None, -np.inf
        for _, key in sorted(self.met, reverse=True):
            if self.values and self.progress.spent(SHARE_WALKS):
                break
            members = np.array(key)
            value = self.value(members)
            if value > most:
                best, most = members, value
        self.met = []
        if best is not None:
            self.priced.approach(self.rows.prices(best, self.priced.lagrangian))
        return self.best > best_before

    def value(self, members: np.ndarray) -> float:
        """Approximate objective over a set with the rule."""
        key = tuple(sorted(members.tolist()))
        if key not in self.values:
            self.values[key] = self.rows.value(np.array(key))
        return self.values[key]

    def ranked(self) -> list[tuple[float, np.ndarray]]:
        """The sets with their values, best first."""
        ordered = sorted(self.values.items(), key=lambda entry: entry[::-1], reverse=True)
        return [(value, np.array(key)) for key, value in ordered]


def climb(priced: PricedSwaps, pool: NamedPool, members: np.ndarray, progress: Progress) -> None:
    """Improve a set by the first of its most promising swaps that gains, until none does.

    With the prices of the set itself, the estimate of a swap is an upper bound.
    """
    value, gained = pool.value(members), True
    neighbourhood = priced.neighbourhood
    while gained and np.isfinite(value):
        gained = False
        priced.take(pool.rows.prices(members, priced.lagrangian))
        neighbourhood.move_to(members)
        reached, change = neighbourhood.evaluate()
        promising = np.argsort(-change, axis=None, kind="stable")[:SWAPS]
        for leaving, entering in zip(*np.unravel_index(promising, change.shape), strict=True):
            if progress.spent(SHARE_SWAPS) or reached + change[leaving, entering] <= value:
                break
            swapped = members.copy()
            swapped[leaving] = entering
            progress.report(describe_search(value, pool.best))
            if pool.value(swapped) > value:
                members, value, gained = swapped, pool.value(swapped), True
                break
