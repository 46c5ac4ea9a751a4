"""Prediction sets from softmax probabilities alone: the common part of THR, APS and RAPS."""

from typing import Self

import numpy as np
import torch
from torch import Tensor

from conformal.predictor import ConformalPredictor, in_chunks, validated


class SoftmaxPredictor(ConformalPredictor):
    """Prediction sets from the softmax probabilities alone; features are accepted but not used.

    The functions that build one take the weights first, though they do not use them, so that methods are
    interchangeable with the hierarchical predictor.

    Args:
        score: `score(probabilities [N, C], position [N, 1]) -> [N, C]`.
        mode: "exact" or "paper".
        seed: seed of the uniform draws; None replaces them by ones (no randomisation).
    """

    def __init__(self, score, mode: str = "exact", seed: int | None = None):
        super().__init__(mode)
        self._score = score
        self._seed = seed

    def _score_all(self, logits: Tensor, stream: int) -> Tensor:
        """Scores `[N, C]`; calibration (stream 0) and prediction (1) draw independently."""
        position = torch.ones(len(logits), 1, dtype=logits.dtype)
        if self._seed is not None:
            position.uniform_(generator=torch.Generator().manual_seed(2 * self._seed + stream))
        return in_chunks(lambda u, s: self._score(s.softmax(dim=1), u), position.to(logits.device), logits)

    def calibrate(self, features: Tensor, logits: Tensor, labels: Tensor) -> Self:
        """Remember the scores of the true classes; returns the predictor."""
        _, logits, labels = validated(features, logits, labels)
        self._calibration = self._score_all(logits, 0).gather(1, labels[:, None]).squeeze(1).cpu()
        return self

    def save(self, file) -> None:
        """Write the calibration scores to an npz file (path or binary file object)."""
        np.savez_compressed(file, scores=self._calibrated().numpy())

    def restore(self, file) -> Self:
        """Take over the calibration scores that `save` wrote; returns the predictor."""
        with np.load(file, allow_pickle=False) as state:
            self._calibration = torch.from_numpy(state["scores"])
        return self

    def nonconformity(self, features: Tensor, logits: Tensor) -> Tensor:
        """Nonconformity of every class, `[N, C]`; lower is more conforming."""
        _, logits, _ = validated(features, logits)
        return self._score_all(logits, 1)

    def _true_scores(self, coverage: float) -> Tensor:
        return self._calibrated()

    def _scores(self, features: Tensor, logits: Tensor, level: int | None) -> Tensor:
        return self.nonconformity(features, logits)
