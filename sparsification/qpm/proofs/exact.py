"""Proven optimum of small selection problems by branch and bound.

Feature by feature, all partial sets that can still beat the best known selection are kept as rows of arrays and bounded
together (see `lagrangian`). The few complete sets that remain are then processed in the order of their value without
class rules, finding their best rows: under the distinct-rows rule by linear assignment, under the pair rule by the same
kind of enumeration over the classes.
"""

from math import comb

import numpy as np

from sparsification.qpm.assignment import all_subsets, best_subsets, distinct_subsets, weight_of
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.proofs.lagrangian import class_multipliers, feature_scores
from sparsification.qpm.selection import Incumbent, incumbent_of

# Limits: array entries of one level of either enumeration, and number of partial assignments of classes.
MAX_ENTRIES = 3_000_000
MAX_ASSIGNMENTS = 100_000
# Subsets of the selected features from which every class may choose under the pair rule.
MAX_SUBSETS_UNDER_PAIR_RULE = 5000
# Selections whose objectives differ by less count as equal.
TOLERANCE = 1e-7


class TooLargeError(Exception):
    """The enumeration would not fit; nothing is proven."""


def optimise(problem: SelectionProblem, best: Incumbent | None, progress: Progress) -> Incumbent | None:
    """The selection with the largest objective; None if no selection keeps the rules.

    Args:
        best: best known selection; the closer to the optimum, the faster the proof.

    Raises:
        TooLargeError: if the enumeration does not fit into memory or time.
    """
    floor = TOLERANCE + (best.objective if best else -np.inf)
    members, values = promising_sets(problem, floor, progress)
    for i in np.argsort(-values):
        if values[i] <= floor:
            break
        if progress.expired:
            raise TooLargeError
        subsets = best_rows(problem, members[i], budget=values[i] - floor)
        if subsets is None:
            continue
        found = incumbent_of(problem, members[i], subsets)
        if found.objective > floor:
            best, floor = found, found.objective
            progress.improved(floor)
    return best


def promising_sets(problem: SelectionProblem, floor: float, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """All sets whose value exceeds `floor` when classes ignore one another, and their values.

    Returns:
        Sets `[N, n]` and values `[N]`.

    Raises:
        TooLargeError: if there are too many partial sets, or time is over.
    """
    n, k, F = problem.n_features, problem.n_per_class, problem.pool_size
    multipliers = class_multipliers(problem.gain, problem.bias, n_features=n, n_per_class=k)
    scores = feature_scores(problem.gain, problem.bias, multipliers)
    order = np.argsort(-scores)
    penalty = problem.penalty[np.ix_(order, order)]
    inside = np.zeros((1, F), dtype=bool)
    value = np.array([k * multipliers.sum()])  # bound's share of the features decided so far
    remaining = scores[order][None]  # scores less the penalties against the features inside
    for position in range(F):
        with_it = inside.copy()
        with_it[:, position] = True
        inside = np.concatenate([inside, with_it])
        value = np.concatenate([value, value + remaining[:, position]])
        remaining = np.concatenate([remaining, remaining - penalty[position]])
        missing = n - inside.sum(axis=1)
        kept = value + best_completion(remaining[:, position + 1 :], missing) > floor
        inside, value, remaining = inside[kept], value[kept], remaining[kept]
        if inside.size > MAX_ENTRIES or progress.expired:
            raise TooLargeError
    members = order[np.nonzero(inside)[1].reshape(-1, n)]
    values = set_values(problem, members)
    return members[values > floor], values[values > floor]


def best_completion(scores: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Sum of the `missing[i]` largest entries of row i; minus infinity if it has fewer."""
    n_left = scores.shape[1]
    sums = np.zeros((len(scores), n_left + 1))
    np.cumsum(-np.sort(-scores, axis=1), axis=1, out=sums[:, 1:])
    possible = (missing >= 0) & (missing <= n_left)
    best = sums[np.arange(len(scores)), np.where(possible, missing, 0)]
    return np.where(possible, best, -np.inf)


def set_values(problem: SelectionProblem, members: np.ndarray) -> np.ndarray:
    """Value of every set `[N, n]` when each class takes its k best features, `[N]`."""
    own = problem.gain[:, members]  # (C, N, n)
    top = -np.partition(-own, problem.n_per_class - 1, axis=2)[:, :, : problem.n_per_class]
    pairwise = problem.penalty[members[:, :, None], members[:, None, :]].sum(axis=(1, 2)) / 2
    return top.sum(axis=(0, 2)) + problem.bias[members].sum(axis=1) - pairwise


def best_rows(problem: SelectionProblem, members: np.ndarray, *, budget: float) -> np.ndarray | None:
    """Best rows over a set of features, `[C, k]`; None if keeping the rules costs more than the budget."""
    values, k = problem.gain[:, members], problem.n_per_class
    distinct = distinct_subsets(values, k)
    if problem.count_pairs(weight_of(distinct, len(members))) >= problem.n_required_pairs:
        return distinct
    best = best_subsets(values, k)
    lost = np.take_along_axis(values, best, axis=1).sum()
    lost -= np.take_along_axis(values, distinct, axis=1).sum()
    if lost >= budget:
        return None
    return best_sharing_subsets(
        values, k, counted=problem.counted_pairs, required=problem.n_required_pairs, budget=budget
    )


def best_sharing_subsets(
    values: np.ndarray, n_per_class: int, *, counted: np.ndarray, required: int, budget: float
) -> np.ndarray | None:
    """Distinct subsets of the largest total value with `required` pairs that share k - 1 features.

    Class by class, all partial assignments are kept that lose less than the budget and in which enough pairs are still
    within reach.

    Args:
        values: value of every selected feature for every class, `[C, n]`.
        counted: whether a pair of classes counts for the rule, `[C, C]`.
        required: how many of these pairs share exactly k - 1 features.
        budget: the summed loss against the best subset of every class must be below this.

    Returns:
        `[C, k]`, or None if every assignment loses as much as the budget.

    Raises:
        TooLargeError: if there are too many subsets or partial assignments.
    """
    n_classes, n = values.shape
    if comb(n, n_per_class) > MAX_SUBSETS_UNDER_PAIR_RULE:
        raise TooLargeError
    subsets, members = all_subsets(n, n_per_class)  # (N, k), (N, n)
    loss = values @ members.T  # (C, N)
    loss = loss.max(axis=1, keepdims=True) - loss
    useful = (loss < budget).any(axis=0)
    subsets, members, loss = subsets[useful], members[useful], loss[:, useful]
    sharing = members @ members.T == n_per_class - 1  # (N, N)
    # Smallest loss at which a class shares k - 1 features with a given subset, and with another class.
    partner_loss = np.stack([np.where(sharing, own, np.inf).min(axis=1) for own in loss], axis=1)  # (N, C)
    pair_loss = np.stack([(own[:, None] + partner_loss).min(axis=0) for own in loss])  # (C, C)
    options = [np.flatnonzero(own < budget) for own in loss]
    order = np.array(sorted(range(n_classes), key=lambda c: len(options[c])))

    chosen = np.zeros((1, 0), dtype=np.int64)  # (partial assignments, classes decided)
    lost, n_pairs = np.zeros(1), np.zeros(1, dtype=np.int64)
    for position, c in enumerate(order):
        option, decided, left = options[c], order[: position + 1], order[position + 1 :]
        if len(lost) * len(option) > MAX_ENTRIES:
            raise TooLargeError
        total = lost[:, None] + loss[c, option]  # (partial assignments, options)
        possible, pairs = total < budget, np.repeat(n_pairs[:, None], len(option), axis=1)
        for d, taken in zip(decided, chosen.T, strict=False):  # c, the last, has no column yet
            possible &= taken[:, None] != option
            if counted[c, d]:
                pairs += sharing[np.ix_(taken, option)]
        parent, pick = np.nonzero(possible)
        if len(parent) > MAX_ASSIGNMENTS:
            raise TooLargeError
        chosen = np.column_stack([chosen[parent], option[pick]])
        lost, n_pairs = total[parent, pick], pairs[parent, pick]
        room = budget - lost
        losses_among_left = np.sort(pair_loss[np.ix_(left, left)][np.triu(counted[np.ix_(left, left)])])
        reachable = n_pairs + np.searchsorted(losses_among_left, room)
        for d, taken in zip(decided, chosen.T, strict=True):
            reachable += (partner_loss[np.ix_(taken, left[counted[left, d]])] < room[:, None]).sum(axis=1)
        kept = reachable >= required
        chosen, lost, n_pairs = chosen[kept], lost[kept], n_pairs[kept]
    if not len(lost):
        return None
    best = np.empty(n_classes, dtype=np.int64)
    best[order] = chosen[lost.argmin()]
    return subsets[best]
