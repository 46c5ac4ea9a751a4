"""Prediction sets that are unions of branches of the image's hierarchy (CHiQPM, arXiv 2511.20779)."""

import math
from dataclasses import fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from conformal.hierarchy import (
    Hierarchy,
    branch_nonconformity,
    class_feature_indices,
    level_accuracies,
    level_nonconformity,
    prediction_hierarchy,
)
from conformal.predictor import ConformalPredictor, Method, in_chunks, validated
from conformal.quantiles import ROUNDING

# Score of mode "exact": a predictor that was calibrated with another one is calibrated again.
SCORE = "mean probability of a branch, two features off the path"


class HierarchicalPredictor(ConformalPredictor):
    """Prediction sets that are unions of branches of the image's hierarchy and hold the predicted class (CHiQPM).

    Mode "paper" picks the deepest level that covers on the calibration data and refines within it with a threshold
    from the same data, as published. Mode "exact" ranks branches by the probability of their classes
    (`branch_nonconformity`), which needs no level: one nested family of sets, one quantile, a finite-sample guarantee.

    Features of models without ReLU (QPM) can be negative; then every feature's lowest value on the calibration images
    counts as 0, and so do values below it.

    Args:
        weight: binary class-feature weights `[C, n_features]`, k ones in every row.
        mode: "exact" or "paper".

    Raises:
        ValueError: if the rows differ in their number of ones or the mode is unknown.
    """

    def __init__(self, weight: Tensor, mode: str = "exact"):
        super().__init__(mode)
        self._class_features = class_feature_indices(weight)
        self.weight = torch.as_tensor(weight).detach().to("cpu", torch.uint8)
        self._lowest = torch.zeros(self.weight.shape[1], dtype=torch.float64)

    @property
    def n_per_class(self) -> int:
        """Features per class, k: the deepest level."""
        return self._class_features.shape[1]

    def calibrate(self, features: Tensor, logits: Tensor, labels: Tensor) -> Self:
        """Remember where the true classes leave the path to the prediction, and their scores; returns self."""
        features, logits, labels = validated(features, logits, labels)
        lowest = features.amin(dim=0).cpu()
        self._lowest = lowest if (lowest < 0).any() else torch.zeros_like(lowest)
        true = labels[:, None]
        truth = prediction_hierarchy(
            self.activations(features), logits.argmax(dim=1), self._class_features.to(features.device), true
        )
        self._calibration = Hierarchy(*(x.cpu() for x in vars(truth).values()))
        self._branch_scores = self._score_branches(features, logits).gather(1, true)[:, 0].cpu()
        return self

    def save(self, file) -> None:
        """Write the calibrated predictor to an npz file (path or binary file object)."""
        truth = {field: x.numpy() for field, x in vars(self._calibrated()).items()}
        np.savez_compressed(
            file,
            mode=self.mode,
            weight=self.weight.numpy(),
            lowest=self._lowest.numpy(),
            branch_scores=self._branch_scores.numpy(),
            **truth,
        )

    @classmethod
    def load(cls, file) -> Self:
        """The calibrated predictor that `save` wrote."""
        with np.load(file, allow_pickle=False) as state:
            predictor = cls(state["weight"], str(state["mode"]))
            truth = (torch.from_numpy(state[field.name]) for field in fields(Hierarchy))
            predictor._calibration = Hierarchy(*truth)
            predictor._lowest = torch.from_numpy(state["lowest"])
            predictor._branch_scores = torch.from_numpy(state["branch_scores"])
        return predictor

    def activations(self, features: Tensor | np.ndarray) -> Tensor:
        """Features `[..., n_features]` as the hierarchy counts them: at least 0."""
        features = torch.as_tensor(features)
        return (features - self._lowest.to(features)).clamp(min=0)

    @property
    def level_accuracies(self) -> Tensor:
        """Share of calibration samples whose label shares the first 1..k features, `[k]`."""
        return level_accuracies(self._calibrated())

    def level(self, coverage: float) -> int:
        """Deepest level whose accuracy on the calibration data reaches `coverage`, 0..k.

        In mode "paper" every class of a set reaches this level; in mode "exact" no level is chosen.

        Raises:
            ValueError: before calibration.
        """
        return int((self.level_accuracies >= coverage - ROUNDING).sum())

    def nonconformity(self, features: Tensor, logits: Tensor, level: int) -> Tensor:
        """Nonconformity of every class at one level of the hierarchy (CHiQPM, eqs. 10-13).

        Args:
            features: normalised pooled features, `[N, n_features]`, in standard deviations.
            logits: `[N, C]`.
            level: how many leading features a class shares with the prediction, 0..k.

        Returns:
            `[N, C]`; at most 0, lower is more conforming.

        Raises:
            ValueError: if `level` is outside 0..k.
        """
        if not 0 <= level <= self.n_per_class:
            raise ValueError(f"level must be in 0..{self.n_per_class}, found {level}")
        features, logits, _ = validated(features, logits)
        return self._over_hierarchies(lambda h, _: level_nonconformity(h, level), features, logits)

    def _score_branches(self, features: Tensor, logits: Tensor) -> Tensor:
        return self._over_hierarchies(branch_nonconformity, features, logits)

    def _over_hierarchies(self, score, features: Tensor, logits: Tensor) -> Tensor:
        """`score(hierarchy, logits)` of all samples, `[N, C]`."""
        class_features = self._class_features.to(features.device)
        return in_chunks(
            lambda f, s: score(prediction_hierarchy(f, s.argmax(dim=1), class_features), s),
            self.activations(features),
            logits,
        )

    def _true_scores(self, coverage: float) -> Tensor:
        truth = self._calibrated()
        if self.mode == "paper":
            return level_nonconformity(truth, self.level(coverage)).squeeze(1)
        return self._branch_scores

    def _level_of_scores(self, coverage: float) -> int | None:
        return self.level(coverage) if self.mode == "paper" else None

    def _scores(self, features: Tensor, logits: Tensor, level: int | None) -> Tensor:
        if level is None:
            return self._score_branches(features, logits)
        # The published sets are empty at the deepest level, where all scores are 0.
        scores = self.nonconformity(features, logits, level)
        return scores.scatter_(1, logits.argmax(dim=1, keepdim=True), -math.inf)


EXACT = Method("CHiQPM", lambda weight, seed: HierarchicalPredictor(weight), hierarchical=True)
PAPER = Method("CHiQPM (paper)", lambda weight, seed: HierarchicalPredictor(weight, "paper"), hierarchical=True)
