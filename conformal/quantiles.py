"""Two readings of the split-conformal quantile: the exact order statistic and interpolation."""

import math

from torch import Tensor

# Coverages arrive as 1 - alpha: rounding must not move (n + 1) * coverage past an integer.
ROUNDING = 1e-9


def conformal_rank(n_scores: int, coverage: float) -> int:
    """Rank of the threshold among n scores in ascending order, from 1; n + 1 if n is too small."""
    return max(1, math.ceil((n_scores + 1) * coverage - ROUNDING))


def order_statistic(scores: Tensor, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest score; infinite if n is too small for the coverage.

    With the comparison `score <= quantile` an exchangeable new sample is covered with probability
    at least `coverage` (Vovk et al. 2005).
    """
    rank = conformal_rank(len(scores), coverage)
    return math.inf if rank > len(scores) else float(scores.kthvalue(rank).values)


def interpolated_quantile(scores: Tensor, coverage: float) -> float:
    """The linearly interpolated (n + 1) coverage / n quantile; infinite if n is too small.

    As in the published implementation, compared strictly (`score < quantile`): without a finite-sample guarantee.
    """
    position = (len(scores) + 1) * coverage
    if position > len(scores) + ROUNDING:
        return math.inf
    return float(scores.quantile(min(position / len(scores), 1.0)))
