"""The elastic net, elementwise or with one group per feature."""

from dataclasses import dataclass

import torch
from torch import Tensor

TINY = 1e-30  # keeps 0 / 0 at 0


@dataclass(frozen=True)
class ElasticNet:
    """Penalty `strength * (alpha * sum |w| + (1 - alpha) / 2 * ||W||_F^2)` of a linear layer.

    |w| is the magnitude of a single weight or, with `grouped`, the 2-norm of a feature's column, which is then either
    unused or available to all classes. Each method is one formula for both. Coefficients are `[C, F + 1]`; the last
    column, the biases, is not penalised.
    """

    alpha: float  # share of the sparsifying term, above 0 up to 1
    grouped: bool = False  # whether all weights of a feature form one group

    def value(self, coefficients: Tensor, strength: float) -> float:
        """The penalty."""
        slope, ridge = self._rates(coefficients, strength)
        sparsity = (slope * self._size(coefficients)).sum()
        return (sparsity + (ridge * coefficients.square()).sum() / 2).item()

    def prox(self, weights: Tensor, strength: Tensor) -> Tensor:
        """argmin over v of `penalty(v) + ||v - weights||^2 / 2` for a feature's weights `[C]`.

        Without groups every class may have its own strength.
        """
        size = self._size(weights)
        shrinkage = (size - self.alpha * strength).clamp_min(0) / size.clamp_min(TINY)
        return weights * shrinkage / (1 + (1 - self.alpha) * strength)

    def largest_of_group(self, values: Tensor) -> Tensor:
        """`[C, F + 1]` unchanged, or the largest of every feature `[1, F + 1]` if grouped."""
        return values.amax(0, keepdim=True) if self.grouped else values

    def violation(self, coefficients: Tensor, loss_gradient: Tensor, strength: float) -> float:
        """Largest violation of the optimality conditions, relative to strength * alpha.

        The largest distance of `-loss_gradient` from the subdifferential: 0 only at the optimum.
        """
        slope, _ = self._rates(coefficients, strength)
        active = self._size(loss_gradient + self.gradient(coefficients, strength))
        inactive = (self._size(loss_gradient) - slope).clamp_min(0)
        missed = torch.where(self._size(coefficients) > 0, active, inactive)
        return missed.max().item() / (strength * self.alpha)

    def support(self, coefficients: Tensor) -> Tensor:
        """Where the penalty is smooth: bool `[C, F + 1]`, non-zero weights and all biases."""
        support = (self._size(coefficients) > 0).expand_as(coefficients).clone()
        support[:, -1] = True
        return support

    def gradient(self, coefficients: Tensor, strength: float) -> Tensor:
        """The gradient on the support."""
        slope, ridge = self._rates(coefficients, strength)
        return slope * self._unit(coefficients) + ridge * coefficients

    def curvature_product(self, coefficients: Tensor, direction: Tensor, strength: float) -> Tensor:
        """The Hessian on the support times a direction; only a grouped |w| is curved."""
        slope, ridge = self._rates(coefficients, strength)
        unit = self._unit(coefficients)
        across = direction - unit * self._over_group(unit * direction)
        return slope * across / self._size(coefficients).clamp_min(TINY) + ridge * direction

    def curvature_diagonal(self, coefficients: Tensor, strength: float) -> Tensor:
        """The diagonal of the Hessian on the support."""
        slope, ridge = self._rates(coefficients, strength)
        across = 1 - self._unit(coefficients).square()
        return slope * across / self._size(coefficients).clamp_min(TINY) + ridge

    def same_side(self, coefficients: Tensor, reference: Tensor) -> Tensor:
        """`coefficients`, with 0 for those whose sign differs from the penalised reference."""
        away = self._over_group(coefficients * reference) < 0
        away[:, -1] = False
        return coefficients.masked_fill(away, 0.0)

    def first_zero(self, coefficients: Tensor, direction: Tensor) -> float:
        """A step length just past the one at which the first |w| vanishes; 0 if none does."""
        towards = -self._over_group(coefficients * direction)[:, :-1]
        lengths = self._over_group(coefficients.square())[:, :-1] / towards
        lengths = lengths[towards > 0]
        return 1.000001 * lengths.min().item() if len(lengths) else 0.0

    def smallest_empty_strength(self, loss_gradient: Tensor) -> float:
        """The start of a path: from this strength on a layer without weights is optimal."""
        return self._size(loss_gradient[:, :-1]).max().item() / self.alpha

    def _rates(self, coefficients: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """Weight of |w| and of w^2 / 2 for every column, `[F + 1]` each."""
        penalised = coefficients.new_full((coefficients.shape[1],), strength)
        penalised[-1] = 0
        return self.alpha * penalised, (1 - self.alpha) * penalised

    def _over_group(self, values: Tensor) -> Tensor:
        return values.sum(0, keepdim=True) if self.grouped else values

    def _size(self, coefficients: Tensor) -> Tensor:
        """|w|: `[C, F + 1]`, or `[1, F + 1]` if grouped."""
        if self.grouped:
            return coefficients.norm(dim=0, keepdim=True)
        return coefficients.abs()

    def _unit(self, coefficients: Tensor) -> Tensor:
        return coefficients / self._size(coefficients).clamp_min(TINY)
