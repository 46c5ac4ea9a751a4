"""Search when named pairs of classes must share exactly k - 1 features (`pairs="named"`).

The multipliers of the certificate price the rule: with them the classes in named pairs fall apart
into one score per feature, so that the tabu search walks as fast as without the rule (all other
classes are valued exactly). What a walk met of largest value is valued by the linear programs of
`named_rows`, which know the rule; the best sets are improved by the swaps that the scores promise
most of, as long as the programs confirm one.
"""

import heapq

import numpy as np

from configs.errors import RunError
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.proofs.bound import Certificate
from sparsification.qpm.search.named_rows import NamedRows
from sparsification.qpm.search.neighbourhood import SwapNeighbourhood
from sparsification.qpm.search.tabu import explore
from sparsification.qpm.selection import Incumbent, best_of

# Iterations of the relaxation that sets the prices, and kicks without a better set.
ITERATIONS = 200
KICKS_WITHOUT_GAIN = 6
# Sets of every walk that are valued with the rule, swaps of a set that are, sets that are improved,
# and sets whose rows are found in the end.
SETS_PER_WALK = 15
SWAPS = 20
N_IMPROVED = 3
N_ELITE = 6
# Shares of the time after which prices, walks and improvements end.
SHARE_PRICES, SHARE_WALKS, SHARE_SWAPS = 0.3, 0.6, 0.75


class PairsImpossibleError(RunError):
    """No selection keeps the pair rule."""


def named_search(
    problem: SelectionProblem,
    certificate: Certificate,
    progress: Progress,
    rng: np.random.Generator,
) -> Incumbent | None:
    """Best selection found; None if named pairs do not share in any of the sets tried.

    Raises:
        PairsImpossibleError: if there is no selection in which they all share.
    """
    pool = NamedPool(problem, progress)
    impossible = pool.rows.impossible_component()
    if impossible is not None:
        n, k = problem.n_features, problem.n_per_class
        raise PairsImpossibleError(
            f"--pairs named: {len(impossible.classes)} similar classes, {len(impossible.pairs)} "
            f"pairs of them named, cannot all share {k - 1} features of {n} with {k} per class; "
            "raise --n_features or take --pairs any"
        )
    certificate.tighten(progress, time_share=SHARE_PRICES, iterations=ITERATIONS)
    neighbourhood = priced_neighbourhood(problem, certificate)
    explore(
        neighbourhood,
        pool,
        progress,
        rng,
        time_share=SHARE_WALKS,
        kicks=KICKS_WITHOUT_GAIN,
    )
    for _, members in pool.ranked()[:N_IMPROVED]:
        climb(neighbourhood, pool, members, progress)
    return best_of(
        problem,
        pool.ranked()[:N_ELITE],
        lambda members: pool.rows.assign(members, progress),
        progress,
    )


def priced_neighbourhood(problem: SelectionProblem, certificate: Certificate) -> SwapNeighbourhood:
    """Swaps valued exactly for the classes in no named pair, by scores for all others."""
    lagrangian, multipliers = certificate.lagrangian, certificate.relaxation.multipliers
    scores = lagrangian.component_scores(problem.gain, multipliers)
    free = problem.gain[lagrangian.free]
    constant = lagrangian.component_constant(multipliers)
    return SwapNeighbourhood(
        free, problem.penalty, problem.bias + scores, problem.n_per_class, constant
    )


class NamedPool:
    """Sets of features that walks have met, the most promising ones valued with the rule.

    Args:
        problem: whose named pairs are forced.
        progress: the clock; walks past its share are not valued further than their best set.
    """

    def __init__(self, problem: SelectionProblem, progress: Progress):
        self.problem, self.progress = problem, progress
        self.rows = NamedRows(problem)
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
        """End of a walk: value its best sets; whether there is a new best one of all."""
        best_before = self.best
        for _, key in sorted(self.met, reverse=True):
            if self.values and self.progress.spent(SHARE_WALKS):
                break
            self.value(np.array(key))
        self.met = []
        return self.best > best_before

    def value(self, members: np.ndarray) -> float:
        """Objective over a set with the rule, the uses relaxed."""
        key = tuple(sorted(members.tolist()))
        if key not in self.values:
            self.values[key] = self.rows.relaxed_value(np.array(key))
        return self.values[key]

    def ranked(self) -> list[tuple[float, np.ndarray]]:
        """The sets with their values, best first."""
        ordered = sorted(self.values.items(), key=lambda entry: entry[::-1], reverse=True)
        return [(value, np.array(key)) for key, value in ordered]


def climb(
    neighbourhood: SwapNeighbourhood,
    pool: NamedPool,
    members: np.ndarray,
    progress: Progress,
) -> None:
    """Improve a set by the first of its most promising swaps that gains, until none does."""
    value, gained = pool.value(members), True
    while gained:
        gained = False
        neighbourhood.move_to(members)
        _, change = neighbourhood.evaluate()
        promising = np.argsort(-change, axis=None, kind="stable")[:SWAPS]
        for leaving, entering in zip(*np.unravel_index(promising, change.shape), strict=True):
            if progress.spent(SHARE_SWAPS) or not np.isfinite(change[leaving, entering]):
                return
            swapped = members.copy()
            swapped[leaving] = entering
            progress.report(f"objective {value:.3f}, best {pool.best:.3f}")
            if pool.value(swapped) > value:
                members, value, gained = swapped, pool.value(swapped), True
                break
