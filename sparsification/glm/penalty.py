"""The elastic net, elementwise or with one group per feature."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ElasticNet:
    """Penalty `strength * (alpha * sum |w| + (1 - alpha) / 2 * ||W||_F^2)` of weights `[C, F]`.

    |w| is the magnitude of a single weight; or, with `grouped`, the 2-norm of a feature's column,
    so that a feature is either unused or open to all classes. Every method is one formula in
    terms of that magnitude.

    Attributes:
        alpha: share of the sparsifying term, above 0 up to 1.
        grouped: whether all weights of a feature form one group.
    """

    alpha: float
    grouped: bool = False

    def magnitude(self, weight: Tensor) -> Tensor:
        """Absolute values `[C, F]`, or the column norms `[1, F]` of a grouped penalty."""
        return weight.norm(dim=0, keepdim=True) if self.grouped else weight.abs()

    def value(self, weight: Tensor, strength: float) -> float:
        """The penalty of `weight`."""
        sparsity = self.alpha * self.magnitude(weight).sum()
        return strength * (sparsity + (1 - self.alpha) / 2 * weight.square().sum()).item()

    def prox(self, weight: Tensor, strength: float) -> Tensor:
        """argmin over V of `penalty(V) + ||V - weight||^2 / 2`, `[C, F]`."""
        size = self.magnitude(weight)
        shrinkage = (size - strength * self.alpha).clamp_min(0) / size.clamp_min(1e-300)
        return weight * shrinkage / (1 + strength * (1 - self.alpha))

    def violation(self, weight: Tensor, gradient: Tensor, strength: float) -> float:
        """Largest distance of `-gradient` from the subdifferential, relative to strength * alpha.

        0 exactly where `weight` minimises a datafit with this gradient plus the penalty.
        """
        slope = strength * self.alpha
        residual = gradient + strength * (1 - self.alpha) * weight
        size = self.magnitude(weight)
        active = self.magnitude(residual + slope * weight / size.clamp_min(1e-300))
        inactive = (self.magnitude(residual) - slope).clamp_min(0)
        return torch.where(size > 0, active, inactive).max().item() / slope

    def smallest_strength_without_weights(self, gradient: Tensor) -> float:
        """Start of the path: the strength from which on `weight = 0` is optimal."""
        return self.magnitude(gradient).max().item() / self.alpha
