"""Threshold on the softmax probability (THR, also LAC; Sadinle, Lei and Wasserman 2019)."""

from torch import Tensor

from conformal.predictor import Method
from conformal.softmax import SoftmaxPredictor


def thr_score(probabilities: Tensor) -> Tensor:
    """One minus the probability of the class, `[N, C]`."""
    return 1 - probabilities


def thr(weight: Tensor | None = None, mode: str = "exact") -> SoftmaxPredictor:
    """Classes whose softmax probability reaches a threshold."""
    return SoftmaxPredictor(lambda probabilities, _: thr_score(probabilities), mode)


METHOD = Method("THR", lambda weight, seed: thr())
