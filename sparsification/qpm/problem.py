"""The selection problem of QPM (arXiv 2502.20130) and CHiQPM (arXiv 2511.20779).

Choose a set S of `n_features` features and for every class c a distinct subset W_c of `n_per_class` of them, maximising

    1000 / (k C) * sum_c sum_{f in W_c} A[f, c]  -  sum_{f < g in S, R[f, g] >= t} Rs[f, g]  +
    sum_{f in S} b[f]

with Rs the redundancy shifted and scaled to (0, 1]. CHiQPM adds that at least floor(rho C) pairs of classes share
exactly k - 1 features. The problem knows its objective and its rules, which is all that solvers need.
"""

from functools import cached_property
from math import comb

import numpy as np

from configs.errors import RunError, UsageError
from sparsification.qpm.class_pairs import most_similar_pairs, to_float64
from sparsification.qpm.components import Component, split_classes
from sparsification.qpm.threshold import redundancy_threshold

# Weight of the class-feature correlation, averaged over classes, relative to redundancy and bias.
CORRELATION_SCALE = 1000.0
# The solvers' tolerances and prices suit correlations of at most 1; far beyond this limit, rows would repeat.
LARGEST_CORRELATION = 1e3
# Relative difference below which redundancies count as equal: with two classes, all are 1 or 0.
ROUNDING = 1e-9


class SelectionProblem:
    """Objective and rules of one feature selection.

    Args:
        correlation: class-feature correlation A, scaled to at most 1, `[F, C]`.
        redundancy: similarity R of every pair of features, at least 0, `[F, F]`. Only the upper triangle counts. A pair
            with redundancy 0 is never penalised.
        bias: linear preference b for every feature, `[F]`.
        n_features: how many features are selected.
        n_per_class: how many of them every class uses (k).
        rho: pairs of classes that must share exactly k - 1 features, per class; 0 asks for none (QPM).
        threshold: redundancy t from which a selected pair is penalised; None finds the smallest one at which
            `n_features` mutually less redundant features exist.
        pairs: which pairs of classes the rule is about: `any`, or the `named` ones, those closest in A, which then all
            have to share exactly k - 1 features.
        redundancy_weight: cost of the most redundant pair.

    Raises:
        UsageError: if the requested numbers admit no selection.
        RunError: if an input holds a value that is not finite, or the correlation is not scaled.
        ValueError: if shapes do not match.
    """

    def __init__(
        self,
        correlation,
        redundancy,
        bias,
        n_features,
        n_per_class,
        rho=0.0,
        threshold=None,
        *,
        pairs="any",
        redundancy_weight=1.0,
    ):
        self.correlation = to_float64(correlation)
        self.redundancy = np.triu(to_float64(redundancy), 1).clip(min=0.0)
        self.bias = to_float64(bias)
        self.n_features = int(n_features)
        self.n_per_class = int(n_per_class)
        self.rho = float(rho)
        self.pool_size, self.n_classes = self.correlation.shape
        self.n_required_pairs = int(self.rho * self.n_classes)
        self.pairs = pairs
        self.redundancy_weight = float(redundancy_weight)
        self._check()
        if threshold is not None:
            self.threshold = float(threshold)

    def _check(self):
        F = self.pool_size
        if self.redundancy.shape != (F, F) or self.bias.shape != (F,):
            raise ValueError(
                f"correlation has {F} features, redundancy has shape {self.redundancy.shape}, bias {self.bias.shape}"
            )
        for name in ("correlation", "redundancy", "bias"):
            if not np.isfinite(getattr(self, name)).all():
                raise RunError(
                    f"Feature selection: {name} is not finite; the dense model has diverged or a feature is constant"
                )
        if (largest := np.abs(self.correlation).max(initial=0.0)) > LARGEST_CORRELATION:
            raise RunError(f"Feature selection: correlation is as large as {largest:g}; scale it to at most 1")
        if self.pairs not in ("any", "named"):
            raise UsageError(f"--pairs {self.pairs}: choose any or named")
        n, k = self.n_features, self.n_per_class
        if not 1 <= k <= n <= F:
            raise UsageError(
                f"--n_features {n} --n_per_class {k} cannot be met: "
                f"the model has {F} features, choose 1 <= n_per_class <= n_features <= {F}"
            )
        if comb(n, k) < self.n_classes:
            raise UsageError(
                f"--n_features {n} --n_per_class {k} describe {comb(n, k)} classes at most, "
                f"the data has {self.n_classes}: raise one of the two"
            )
        if not 0 <= self.n_required_pairs <= comb(self.n_classes, 2):
            raise UsageError(
                f"rho={self.rho:g} asks for {self.n_required_pairs} pairs of {self.n_classes} classes, "
                f"choose 0 to {comb(self.n_classes, 2)}"
            )

    @cached_property
    def threshold(self) -> float:
        """Redundancy from which a pair of selected features is penalised."""
        symmetric = self.redundancy + self.redundancy.T
        return redundancy_threshold(symmetric, self.n_features)

    @cached_property
    def gain(self) -> np.ndarray:
        """Contribution of a feature to the objective when a class uses it, `[C, F]`."""
        scale = CORRELATION_SCALE / (self.n_per_class * self.n_classes)
        return np.ascontiguousarray(scale * self.correlation.T)

    @cached_property
    def penalty(self) -> np.ndarray:
        """Cost of every pair of selected features, symmetric, zero diagonal, `[F, F]`."""
        redundant = self.redundancy > 0
        shifted = self.redundancy - self.redundancy.min(where=redundant, initial=np.inf)
        largest = shifted.max(where=redundant, initial=0.0)
        if largest <= ROUNDING * self.redundancy.max(initial=0.0):  # all are equal: none stands out
            return np.zeros_like(self.redundancy)
        penalised = redundant & (self.redundancy >= self.threshold)
        upper = np.where(penalised, self.redundancy_weight * shifted / largest, 0.0)
        return upper + upper.T

    @cached_property
    def named_pairs(self) -> np.ndarray:
        """The pairs of classes closest in A, as many as the rule asks for, `[floor(rho C), 2]`."""
        return most_similar_pairs(self.correlation, self.n_required_pairs)

    @cached_property
    def counted_pairs(self) -> np.ndarray:
        """Whether a pair of classes counts for the pair rule, symmetric, `[C, C]`."""
        if self.pairs == "any":
            return ~np.eye(self.n_classes, dtype=bool)
        counted = np.zeros((self.n_classes, self.n_classes), dtype=bool)
        counted[tuple(self.named_pairs.T)] = True
        return counted | counted.T

    @cached_property
    def components(self) -> tuple[list[Component], np.ndarray]:
        """The groups of classes that named pairs tie together if they are required, and all other classes."""
        forced = self.named_pairs if self.pairs == "named" else self.named_pairs[:0]
        return split_classes(forced, self.n_classes)

    def set_value(self, selected: np.ndarray) -> float:
        """Part of the objective that does not depend on classes: bias minus penalties."""
        return float(self.bias[selected].sum() - self.penalty[np.ix_(selected, selected)].sum() / 2)

    def objective(self, selected: np.ndarray, weight: np.ndarray) -> float:
        """Objective of a selection, in float64.

        Args:
            selected: indices of the selected features, `[n_features]`.
            weight: 0/1 features of every class over `selected`, `[C, n_features]`.
        """
        selected = to_float64(selected).astype(np.int64)
        class_value = (self.gain[:, selected] * to_float64(weight)).sum()
        return float(class_value) + self.set_value(selected)

    def violations(self, selected: np.ndarray, weight: np.ndarray) -> list[str]:
        """Every rule that the selection (as in `objective`) breaks, one sentence each; empty if it is feasible."""
        selected, weight = to_float64(selected), to_float64(weight)
        n, k = self.n_features, self.n_per_class
        found = []
        if selected.shape != (n,) or len(np.unique(selected)) != n:
            found.append(f"{len(np.unique(selected))} different features instead of {n}")
        if not np.isin(selected, np.arange(self.pool_size)).all():
            found.append(f"a selected index is not one of 0..{self.pool_size - 1}")
        if weight.shape != (self.n_classes, n) or not np.isin(weight, (0, 1)).all():
            return [*found, f"weight is not a 0/1 matrix of shape {(self.n_classes, n)}"]
        wrong_size = np.flatnonzero(weight.sum(axis=1) != k)
        if len(wrong_size):
            found.append(f"{len(wrong_size)} classes do not use exactly {k} features")
        n_repeated = len(weight) - len(np.unique(weight, axis=0))
        if n_repeated:
            found.append(f"{n_repeated} classes repeat the features of another class")
        n_pairs = self.count_pairs(weight)
        if n_pairs < self.n_required_pairs:
            kind = "named pairs" if self.pairs == "named" else "pairs"
            found.append(
                f"{n_pairs} {kind} of classes share exactly {k - 1} features "
                f"instead of at least {self.n_required_pairs}"
            )
        return found

    def count_pairs(self, weight: np.ndarray) -> int:
        """Number of pairs that count and share exactly k - 1 features."""
        sharing = weight @ weight.T == self.n_per_class - 1
        return int((sharing & self.counted_pairs).sum()) // 2

    def count_named_pairs(self, weight: np.ndarray) -> int:
        """Number of the named pairs that share exactly k - 1 features."""
        shared = weight @ weight.T
        return int((shared[tuple(self.named_pairs.T)] == self.n_per_class - 1).sum())
