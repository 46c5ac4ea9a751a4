"""Adaptive prediction sets (APS; Romano, Sesia and Candes 2020)."""

from torch import Tensor

from conformal.predictor import Method
from conformal.scores.raps import raps_score
from conformal.softmax import SoftmaxPredictor


def aps_score(probabilities: Tensor, position: Tensor) -> Tensor:
    """Probability of the classes ranked before the class, plus the fraction `position` of its own, `[N, C]`.

    Args:
        probabilities: `[N, C]`, rows sum to 1.
        position: `[N, 1]` in [0, 1]: uniform draws for the randomised score, ones for the conservative one.
    """
    return raps_score(probabilities, position, penalty=0, free_rank=0)


def aps(weight: Tensor | None = None, mode: str = "exact", seed: int | None = 0) -> SoftmaxPredictor:
    """Adaptive prediction sets; `seed` None leaves out the randomisation."""
    return SoftmaxPredictor(aps_score, mode, seed)


METHOD = Method("APS", lambda weight, seed: aps(seed=seed))
