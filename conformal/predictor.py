"""Calibrated prediction sets from nonconformity scores: the common part of all scores of `conformal.scores`.

A predictor is calibrated once, then answers any coverage without recalibration. Sets of the hierarchy always hold the
predicted class; those of the baselines can be empty, as published.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from configs.script import warn_once
from conformal.quantiles import interpolated_quantile, order_statistic

log = logging.getLogger(__name__)

# mode -> (threshold of the calibration scores, comparison of a score with it)
MODES = {"paper": (interpolated_quantile, torch.lt), "exact": (order_statistic, torch.le)}

# Coverages that pages and exported models offer in addition to those asked for.
EVERY_PERCENT = tuple(percent / 100 for percent in range(50, 100))

# (sample, class) pairs worked on at a time: bounds the memory of [N, C, k] intermediates to a few hundred MiB.
PAIRS_PER_CHUNK = 2**20


def in_chunks(function, *rows):
    """Concatenated results of `function` over chunks of samples, rows of equal lengths; the last is `[N, C]`."""
    size = max(1, PAIRS_PER_CHUNK // rows[-1].shape[1])
    return torch.cat([function(*chunk) for chunk in zip(*(r.split(size) for r in rows), strict=True)])


def validated(features: Tensor, logits: Tensor, labels: Tensor | None = None):
    """The arguments as tensors, reals in double precision; ValueError if their lengths differ."""
    features, logits = (torch.as_tensor(x).detach().double() for x in (features, logits))
    labels = None if labels is None else torch.as_tensor(labels, device=features.device).long()
    lengths = {len(x) for x in (features, logits, labels) if x is not None}
    if len(lengths) != 1:
        raise ValueError(f"features, logits and labels must have equal lengths, found {sorted(lengths)}")
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
        self._calibration: Any = None  # what `calibrate` keeps about the true classes

    @abstractmethod
    def calibrate(self, features: Tensor, logits: Tensor, labels: Tensor) -> Self:
        """Remember the scores of the true classes; returns the predictor.

        Args:
            features: normalised pooled features after ReLU, `[N, n_features]`.
            logits: `[N, C]`.
            labels: `[N]` integers.

        Raises:
            ValueError: if they differ in the number of images.
        """

    def _calibrated(self):
        if self._calibration is None:
            raise ValueError("calibrate the predictor first: predictor.calibrate(features, logits, labels)")
        return self._calibration

    @abstractmethod
    def _true_scores(self, coverage: float) -> Tensor:
        """Calibration scores of the true classes for this coverage, `[N]`."""

    @abstractmethod
    def _scores(self, features: Tensor, logits: Tensor, level: int | None) -> Tensor:
        """Scores of all classes, `[N, C]`."""

    def _level_of_scores(self, coverage: float) -> int | None:
        """Level at which classes are scored for this coverage; None if scores have no level."""
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
            n = len(scores)
            warn_once(  # for all methods and sweeps
                log,
                f"{n} calibration images are too few for a coverage above {100 * n / (n + 1):.3g} %: above it, sets "
                "hold every class.",
            )
        return threshold

    def predict(self, features: Tensor, logits: Tensor, coverage: float) -> Tensor:
        """Prediction sets, bool `[N, C]`.

        Args:
            features: normalised pooled features after ReLU, `[N, n_features]`.
            logits: `[N, C]`.
            coverage: targeted probability that the set holds the true class, as a fraction.

        Raises:
            ValueError: as `threshold`, or if features and logits differ in the number of images.
        """
        return next(self.predict_each(features, logits, [coverage]))

    def predict_each(self, features: Tensor, logits: Tensor, coverages: Iterable[float]) -> Iterator[Tensor]:
        """Prediction sets for every coverage in turn, bool `[N, C]` each; classes are scored once per level.

        Arguments and errors are those of `predict`.
        """
        features, logits, _ = validated(features, logits)
        scored = None
        for coverage in coverages:
            threshold = self.threshold(coverage)
            level = self._level_of_scores(coverage)
            if scored is None or scored[0] != level:
                scored = level, self._scores(features, logits, level)
            yield self._conforms(scored[1], threshold)


@dataclass(frozen=True)
class Method:
    """One way to make prediction sets, as tables and plots name it."""

    name: str  # its row in tables, its line in plots
    # The predictor, not calibrated, from class-feature weights [C, n] and a seed for its draws
    make: Callable[[Tensor | None, int], ConformalPredictor]
    hierarchical: bool = False  # whether it needs classes that are sets of features, and binary weights
