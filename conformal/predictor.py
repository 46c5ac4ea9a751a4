"""Calibrated prediction sets from nonconformity scores, one interface for hierarchy and baselines.

A predictor is calibrated once, then answers any coverage without recalibration. Sets of the hierarchy always hold the
predicted class; those of the baselines can be empty, as published.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import partial
from typing import Self

import numpy as np
import torch
from torch import Tensor

from configs.script import warn_once
from conformal.hierarchy import (
    Hierarchy,
    class_feature_indices,
    level_accuracies,
    level_nonconformity,
    prediction_hierarchy,
    relative_nonconformity,
)
from conformal.quantiles import ROUNDING, interpolated_quantile, order_statistic
from conformal.scores import aps_score, raps_score, thr_score

logger = logging.getLogger(__name__)

# mode -> (threshold of the calibration scores, comparison of a score with it)
MODES = {"paper": (interpolated_quantile, torch.lt), "exact": (order_statistic, torch.le)}

# (sample, class) pairs worked on at a time: bounds the memory of [N, C, k] intermediates to a few
# hundred MiB.
PAIRS_PER_CHUNK = 2**20


def _in_chunks(function, *rows):
    """Concatenated results of `function` over chunks of samples; the last of `rows` is `[N, C]`."""
    size = max(1, PAIRS_PER_CHUNK // rows[-1].shape[1])
    return torch.cat(
        [function(*chunk) for chunk in zip(*(r.split(size) for r in rows), strict=True)]
    )


def _validated(features: Tensor, logits: Tensor, labels: Tensor | None = None):
    """The arguments as tensors, reals in double precision; ValueError if their lengths differ."""
    features, logits = (torch.as_tensor(x).detach().double() for x in (features, logits))
    labels = None if labels is None else torch.as_tensor(labels, device=features.device).long()
    lengths = {len(x) for x in (features, logits, labels) if x is not None}
    if len(lengths) != 1:
        raise ValueError(
            f"features, logits and labels must have equal lengths, found {sorted(lengths)}"
        )
    return features, logits, labels


class ConformalPredictor(ABC):
    """Split-conformal prediction sets.

    Args:
        mode: "exact" (order statistic, finite-sample guarantee) or "paper" (as published).

    Raises:
        ValueError: if the mode is unknown.
    """

    def __init__(self, mode: str = "exact"):
        if mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}: choose one of {', '.join(MODES)}")
        self.mode = mode
        self._quantile, self._conforms = MODES[mode]
        self._calibration = None  # what `calibrate` remembers of the true classes

    @abstractmethod
    def calibrate(self, features: Tensor, logits: Tensor, labels: Tensor) -> Self:
        """Remember the scores of the true classes; returns the predictor.

        Args:
            features: normalised pooled features after ReLU, `[N, n_features]`.
            logits: `[N, C]`.
            labels: `[N]` integers.

        Raises:
            ValueError: if they are not of as many images.
        """

    def _calibrated(self):
        if self._calibration is None:
            raise ValueError(
                "calibrate the predictor first: predictor.calibrate(features, logits, labels)"
            )
        return self._calibration

    @abstractmethod
    def _true_scores(self, coverage: float) -> Tensor:
        """Calibration scores of the true classes for this coverage, `[N]`."""

    @abstractmethod
    def _scores(self, features: Tensor, logits: Tensor, level: int | None) -> Tensor:
        """Scores of all classes, `[N, C]`."""

    def _level_of_scores(self, coverage: float) -> int | None:
        """Level at which classes are scored for this coverage; None where scores know no level."""
        return None

    def threshold(self, coverage: float) -> float:
        """Score up to which a class is in the set; infinite when the calibration data are too few.

        Raises:
            ValueError: before calibration, or if `coverage` is not strictly between 0 and 1.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage must lie between 0 and 1, found {coverage}")
        scores = self._true_scores(coverage)
        threshold = self._quantile(scores, coverage)
        if threshold == math.inf:
            warn_once(  # for all methods and sweeps
                logger,
                "%d calibration images are too few for a coverage of %g: sets hold every class",
                len(scores),
                coverage,
            )
        return threshold

    def predict(self, features: Tensor, logits: Tensor, coverage: float) -> Tensor:
        """Prediction sets, bool `[N, C]`.

        Args:
            features: normalised pooled features after ReLU, `[N, n_features]`.
            logits: `[N, C]`.
            coverage: targeted probability that the set holds the true class, as a fraction.

        Raises:
            ValueError: as `threshold`, or if features and logits are not of as many images.
        """
        return next(self.predict_each(features, logits, [coverage]))

    def predict_each(
        self, features: Tensor, logits: Tensor, coverages: Iterable[float]
    ) -> Iterator[Tensor]:
        """Prediction sets for every coverage in turn, bool `[N, C]` each; classes are scored once per level.

        Arguments and errors are those of `predict`.
        """
        features, logits, _ = _validated(features, logits)
        scored = None
        for coverage in coverages:
            threshold = self.threshold(coverage)
            level = self._level_of_scores(coverage)
            if scored is None or scored[0] != level:
                scored = level, self._scores(features, logits, level)
            yield self._conforms(scored[1], threshold)


class HierarchicalPredictor(ConformalPredictor):
    """Prediction sets that are unions of branches of the image's hierarchy and hold the predicted class (CHiQPM).

    Mode "paper" picks the deepest level that covers on the calibration data and refines within it with a threshold
    from the same data, as published. Mode "exact" ranks classes by the evidence they lack (`relative_nonconformity`),
    which needs no level: one nested family of sets, one quantile, a finite-sample guarantee.

    Args:
        weight: binary class-feature weights `[C, n_features]`, k ones in every row.
        mode: "exact" or "paper".

    Raises:
        ValueError: if a row has another number of ones or the mode is unknown.
    """

    def __init__(self, weight: Tensor, mode: str = "exact"):
        super().__init__(mode)
        self._class_features = class_feature_indices(weight)
        self.weight = torch.as_tensor(weight).detach().to("cpu", torch.uint8)

    @property
    def n_per_class(self) -> int:
        """Features per class, k: the deepest level."""
        return self._class_features.shape[1]

    def calibrate(self, features: Tensor, logits: Tensor, labels: Tensor) -> Self:
        """Remember where the true classes leave the path to the prediction; returns self."""
        features, logits, labels = _validated(features, logits, labels)
        truth = prediction_hierarchy(
            features,
            logits.argmax(dim=1),
            self._class_features.to(features.device),
            labels[:, None],
        )
        self._calibration = Hierarchy(*(x.cpu() for x in vars(truth).values()))
        return self

    def save(self, file) -> None:
        """Write the calibrated predictor to an npz file (path or binary file object)."""
        calibration = {field: x.numpy() for field, x in vars(self._calibrated()).items()}
        np.savez_compressed(file, mode=self.mode, weight=self.weight.numpy(), **calibration)

    @classmethod
    def load(cls, file) -> Self:
        """The calibrated predictor that `save` wrote."""
        with np.load(file, allow_pickle=False) as state:
            predictor = cls(state["weight"], str(state["mode"]))
            calibration = {f.name: torch.from_numpy(state[f.name]) for f in fields(Hierarchy)}
            predictor._calibration = Hierarchy(**calibration)
        return predictor

    @property
    def level_accuracies(self) -> Tensor:
        """Fraction of calibration samples whose label shares the first 1..k features, `[k]`.

        Raises:
            ValueError: before calibration.
        """
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
            features: normalised pooled features after ReLU, `[N, n_features]`, in standard
                deviations.
            logits: `[N, C]`.
            level: how many leading features a class shares with the prediction, 0..k.

        Returns:
            `[N, C]`; at most 0, lower is more conforming.

        Raises:
            ValueError: if `level` is outside 0..k.
        """
        if not 0 <= level <= self.n_per_class:
            raise ValueError(f"level must be in 0..{self.n_per_class}, found {level}")
        features, logits, _ = _validated(features, logits)
        return self._over_hierarchies(lambda h: level_nonconformity(h, level), features, logits)

    def _over_hierarchies(self, score, features: Tensor, logits: Tensor) -> Tensor:
        class_features = self._class_features.to(features.device)
        return _in_chunks(
            lambda f, s: score(prediction_hierarchy(f, s.argmax(dim=1), class_features)),
            features,
            logits,
        )

    def _true_scores(self, coverage: float) -> Tensor:
        if self.mode == "paper":
            return level_nonconformity(self._calibrated(), self.level(coverage)).squeeze(1)
        return relative_nonconformity(self._calibrated()).squeeze(1)

    def _level_of_scores(self, coverage: float) -> int | None:
        return self.level(coverage) if self.mode == "paper" else None

    def _scores(self, features: Tensor, logits: Tensor, level: int | None) -> Tensor:
        if level is None:
            return self._over_hierarchies(relative_nonconformity, features, logits)
        # The published sets are empty at the deepest level, where all scores are 0.
        scores = self.nonconformity(features, logits, level)
        return scores.scatter_(1, logits.argmax(dim=1, keepdim=True), -math.inf)


class SoftmaxPredictor(ConformalPredictor):
    """Prediction sets from the softmax probabilities alone; the features are accepted and not used.

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
        return _in_chunks(
            lambda u, s: self._score(s.softmax(dim=1), u), position.to(logits.device), logits
        )

    def calibrate(self, features: Tensor, logits: Tensor, labels: Tensor) -> Self:
        """Remember the scores of the true classes; returns the predictor."""
        _, logits, labels = _validated(features, logits, labels)
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
        _, logits, _ = _validated(features, logits)
        return self._score_all(logits, 1)

    def _true_scores(self, coverage: float) -> Tensor:
        return self._calibrated()

    def _scores(self, features: Tensor, logits: Tensor, level: int | None) -> Tensor:
        return self.nonconformity(features, logits)


# The baselines are built as the hierarchical predictor is, with the weight first, so that methods can be exchanged;
# softmax probabilities have no use for it.


def thr(weight: Tensor | None = None, mode: str = "exact") -> SoftmaxPredictor:
    """Threshold on the softmax probability (THR, also LAC; Sadinle, Lei and Wasserman 2019)."""
    return SoftmaxPredictor(lambda probabilities, _: thr_score(probabilities), mode)


def aps(
    weight: Tensor | None = None, mode: str = "exact", seed: int | None = 0
) -> SoftmaxPredictor:
    """Adaptive prediction sets (Romano et al. 2020); `seed` None leaves out the randomisation."""
    return SoftmaxPredictor(aps_score, mode, seed)


def raps(
    weight: Tensor | None = None,
    mode: str = "exact",
    seed: int | None = 0,
    *,
    penalty: float = 0.01,
    free_rank: int = 5,
) -> SoftmaxPredictor:
    """APS with a penalty for ranks beyond `free_rank` (RAPS; Angelopoulos et al. 2021)."""
    return SoftmaxPredictor(partial(raps_score, penalty=penalty, free_rank=free_rank), mode, seed)
