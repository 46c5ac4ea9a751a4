"""The multinomial cross entropy of a linear layer on features that stay in memory."""

import torch
from torch import Tensor

BLOCK_ENTRIES = 2**24  # largest array of feature products at a time


class CrossEntropy:
    """Mean cross entropy in nats of a linear layer, with its first two derivatives.

    The layer is one array of coefficients `[C, F + 1]`: its weights, then its biases as the last
    column, which belongs to a feature that is always 1. Values and gradients are in double
    precision; curvature only directs a step and is in single precision, at half the time.

    Args:
        features: standardised features `[N, F]`.
        labels: `[N]` int64, every class 0..C-1 present.
    """

    def __init__(self, features: Tensor, labels: Tensor):
        ones = features.new_ones(len(features), 1)
        self.features = torch.cat([features, ones], 1).double()  # [N, F + 1]
        self.labels = labels
        self._single = self.features.float()
        self._rows = torch.arange(len(labels), device=labels.device)

    def subset(self, columns: list[int]) -> "CrossEntropy":
        """The same loss on some of the features."""
        return CrossEntropy(self.features[:, columns], self.labels)

    def start(self) -> Tensor:
        """The optimal layer without weights: its biases are the log frequencies of the classes."""
        frequency = self.labels.bincount().to(self.features) / len(self.labels)
        weight = self.features.new_zeros(len(frequency), self.features.shape[1] - 1)
        return torch.cat([weight, frequency.log()[:, None]], 1)

    def value_and_residual(self, coefficients: Tensor) -> tuple[float, Tensor]:
        """The loss and its gradient in the logits, `[N, C]`."""
        logits = self.features @ coefficients.T
        logits -= logits.amax(1, keepdim=True)
        true = logits[self._rows, self.labels]
        residual = logits.exp_()  # in place throughout: no array here is larger than [N, C]
        total = residual.sum(1, keepdim=True)
        value = (total[:, 0].log() - true).mean().item()
        residual /= total
        residual[self._rows, self.labels] -= 1
        residual /= len(self.labels)
        return value, residual

    def gradient(self, residual: Tensor) -> Tensor:
        """The gradient in the coefficients, `[C, F + 1]`, where the residual was taken."""
        return residual.T @ self.features

    def probabilities(self, residual: Tensor) -> Tensor:
        """The class probabilities `[N, C]` where the residual was taken, in single precision."""
        probabilities = residual.float() * len(self.labels)
        probabilities[self._rows, self.labels] += 1
        return probabilities

    def curvature_product(self, probabilities: Tensor, direction: Tensor) -> Tensor:
        """The Hessian times a direction `[C, F + 1]`."""
        change = self._single @ direction.T  # [N, C], of the logits
        change *= probabilities
        change.addcmul_(probabilities, change.sum(1, keepdim=True), value=-1)
        return change.T @ self._single / len(self.labels)

    def curvature_blocks(self, probabilities: Tensor) -> Tensor:
        """The Hessian's diagonal block of every class, `[C, F + 1, F + 1]`."""
        F = self._single.shape[1]
        rows = max(1, BLOCK_ENTRIES // F**2)
        spread = probabilities * (1 - probabilities) / len(self.labels)
        blocks = self._single.new_zeros(spread.shape[1], F * F)
        for x, weights in zip(self._single.split(rows), spread.split(rows), strict=True):
            blocks.addmm_(weights.T, (x[:, :, None] * x[:, None]).flatten(1))
        return blocks.view(-1, F, F)
