"""Our solver for the selection problem: search, and proof if the problem is small."""

import logging
from functools import partial

import numpy as np

from sparsification.qpm.assignment import distinct_subsets
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.proofs.bound import Certificate
from sparsification.qpm.proofs.exact import TooLargeError, optimise
from sparsification.qpm.search.any_pairs import sharing_subsets
from sparsification.qpm.search.named_pairs import named_search
from sparsification.qpm.search.neighbourhood import SwapNeighbourhood
from sparsification.qpm.search.tabu import ElitePool, explore
from sparsification.qpm.selection import Incumbent, best_of, no_selection

log = logging.getLogger(__name__)

# Sets whose rows are tried under the rule on any pairs, and share of the time for finding them.
N_ELITE = 6
SHARE_BEFORE_PAIRS = 0.7
# Features up to which branch and bound is tried after the search.
MAX_PROVEN_POOL = 128


def search(
    problem: SelectionProblem, certificate: Certificate, progress: Progress, seed: int
) -> tuple[Incumbent, float]:
    """Best selection found by tabu search, and an upper bound: its objective if it is proven optimal, else infinity.

    Args:
        certificate: guides the search if named pairs are required, and is tightened on the way.

    Raises:
        NoSelectionError: if none with enough sharing pairs was found; tells whether there can be one.
    """
    rng = np.random.default_rng(seed)
    if problem.components[0]:
        best = named_search(problem, certificate, progress, rng)
    else:
        best = search_any(problem, progress, rng)
    proven = False
    if problem.pool_size <= MAX_PROVEN_POOL:
        try:
            best = optimise(problem, best, progress)
            proven = True
        except TooLargeError:
            log.debug("too large to be proven optimal by branch and bound")
    if best is None:
        raise no_selection(problem, None if proven else progress.elapsed)
    return best, best.objective if proven else np.inf


def search_any(problem: SelectionProblem, progress: Progress, rng: np.random.Generator) -> Incumbent | None:
    """Best selection without a pair rule, or with one for which any pairs count; or None."""
    if not problem.n_required_pairs:
        pool = ElitePool(problem, 1, progress.improved)
        rows, time_share = partial(distinct_rows, problem), 1.0
    else:
        pool = ElitePool(problem, N_ELITE, improved=lambda value: None)
        rows = partial(sharing_subsets, problem, progress=progress)
        time_share = SHARE_BEFORE_PAIRS
    neighbourhood = SwapNeighbourhood(problem.gain, problem.penalty, problem.bias, problem.n_per_class)
    explore(neighbourhood, pool, progress, rng, time_share=time_share)
    return best_of(problem, pool.ranked(), rows, progress)


def distinct_rows(problem: SelectionProblem, members: np.ndarray) -> np.ndarray:
    """Features of every class over a set without a pair rule, `[C, k]`."""
    return distinct_subsets(problem.gain[:, members], problem.n_per_class)
