"""Nonconformity scores of the softmax baselines: THR, APS and RAPS.

THR (LAC): Sadinle, Lei and Wasserman 2019. APS: Romano, Sesia and Candes 2020. RAPS: Angelopoulos
et al. 2021. Arrays in, arrays out, `[N, C]` -> `[N, C]`, lower is more conforming.
"""

import torch
from torch import Tensor


def thr_score(probabilities: Tensor) -> Tensor:
    """One minus the probability of the class."""
    return 1 - probabilities


def aps_score(probabilities: Tensor, position: Tensor) -> Tensor:
    """Probability of the classes ranked before the class, plus the fraction `position` of its own.

    Args:
        probabilities: `[N, C]`, rows sum to 1.
        position: `[N, 1]` in [0, 1]: uniform draws for the randomised score, ones for the conservative one.
    """
    return raps_score(probabilities, position, penalty=0, free_rank=0)


def raps_score(
    probabilities: Tensor, position: Tensor, *, penalty: float, free_rank: int
) -> Tensor:
    """The APS score plus `penalty` for every rank beyond the first `free_rank`."""
    ranked, order = probabilities.sort(dim=1, descending=True, stable=True)
    before = ranked.cumsum(dim=1) - ranked
    rank = torch.arange(1, ranked.shape[1] + 1, device=ranked.device)
    score = before + position * ranked + penalty * (rank - free_rank).clamp(min=0)
    return torch.empty_like(score).scatter_(1, order, score)
