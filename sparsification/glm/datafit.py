"""The multinomial cross entropy of a linear layer on features that stay in memory."""

from typing import NamedTuple

import torch
from torch import Tensor


class Layer(NamedTuple):
    """Weights `[C, F]` and biases `[C]` of a linear layer."""

    weight: Tensor
    bias: Tensor


class CrossEntropy:
    """Mean cross entropy, in nats, of a linear layer as a function of its weights and biases.

    Args:
        features: standardised features `[N, F]`.
        labels: `[N]` int64, every class 0..C-1 present.
    """

    def __init__(self, features: Tensor, labels: Tensor):
        self.features, self.labels = features, labels
        self._rows = torch.arange(len(labels), device=labels.device)

    def subset(self, columns: list[int]) -> "CrossEntropy":
        """The same loss on some of the features."""
        return CrossEntropy(self.features[:, columns].contiguous(), self.labels)

    def start(self) -> Layer:
        """The optimal layer without weights: its biases are the log frequencies of the classes."""
        frequency = self.labels.bincount().to(self.features) / len(self.labels)
        weight = self.features.new_zeros(len(frequency), self.features.shape[1])
        return Layer(weight, frequency.log())

    def value(self, layer: Layer) -> float:
        """The loss."""
        return self._value_and_exponentials(layer)[0]

    def value_and_residual(self, layer: Layer) -> tuple[float, Tensor]:
        """The loss and its gradient in the logits, `[N, C]`."""
        value, residual = self._value_and_exponentials(layer)
        residual /= residual.sum(1, keepdim=True)
        residual[self._rows, self.labels] -= 1
        residual /= len(self.labels)
        return value, residual

    def value_and_gradient(self, layer: Layer) -> tuple[float, Layer]:
        """The loss and its gradient in weights and biases."""
        value, residual = self.value_and_residual(layer)
        return value, Layer(residual.T @ self.features, residual.sum(0))

    def _value_and_exponentials(self, layer: Layer) -> tuple[float, Tensor]:
        logits = torch.addmm(layer.bias, self.features, layer.weight.T)  # [N, C]
        logits -= logits.amax(1, keepdim=True)
        true = logits[self._rows, self.labels]
        exponentials = logits.exp_()  # in place: no array here is larger than [N, C]
        return (exponentials.sum(1).log() - true).mean().item(), exponentials
