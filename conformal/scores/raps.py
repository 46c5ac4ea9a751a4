"""APS with a penalty for high ranks (RAPS; Angelopoulos et al. 2021)."""

from functools import partial

import torch
from torch import Tensor

from conformal.predictor import Method
from conformal.softmax import SoftmaxPredictor

PENALTY, FREE_RANK = 0.01, 5  # penalty per rank, and number of ranks without it


def raps_score(probabilities: Tensor, position: Tensor, *, penalty: float, free_rank: int) -> Tensor:
    """The APS score plus `penalty` for every rank beyond the first `free_rank`, `[N, C]`.

    Arguments are those of `aps_score`.
    """
    ranked, order = probabilities.sort(dim=1, descending=True, stable=True)
    before = ranked.cumsum(dim=1) - ranked
    rank = torch.arange(1, ranked.shape[1] + 1, device=ranked.device)
    score = before + position * ranked + penalty * (rank - free_rank).clamp(min=0)
    return torch.empty_like(score).scatter_(1, order, score)


def raps(weight: Tensor | None = None, mode: str = "exact", seed: int | None = 0) -> SoftmaxPredictor:
    """APS with a penalty for ranks beyond `FREE_RANK`; `seed` None leaves out the randomisation."""
    return SoftmaxPredictor(partial(raps_score, penalty=PENALTY, free_rank=FREE_RANK), mode, seed)


METHOD = Method("RAPS", lambda weight, seed: raps(seed=seed))
