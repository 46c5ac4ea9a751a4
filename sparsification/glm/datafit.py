"""The multinomial cross entropy of a linear layer on standardised features.

Samples are processed in blocks of rows, so that the features may be a file larger than memory. Only sums over blocks,
of the size of the layer, are kept. A problem of a single block keeps the block.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from architectures.sparse_head import MIN_STD
from sparsification.constants import feature_moments

BLOCK_ENTRIES = 2**24  # largest array at a time: 128 MiB in double precision


class Standardisation(NamedTuple):
    """Mean and (sample) standard deviation of every feature, `[F]` each, float64."""

    mean: Tensor
    std: Tensor

    def apply(self, features: Tensor) -> Tensor:
        """Features of mean 0 and standard deviation 1, float64; constant features become 0."""
        return (features - self.mean).div_(self.std.clamp_min(MIN_STD))


def standardisation(features: Tensor) -> Standardisation:
    """Mean and standard deviation over the samples `[N, F]`, read in parts."""
    mean, deviation = feature_moments(features)
    return Standardisation(mean, deviation * (len(features) / (len(features) - 1)) ** 0.5)


class CrossEntropy:
    """Mean cross entropy in nats of a linear layer, with its first two derivatives.

    The layer is one array of coefficients `[C, F + 1]`: its weights, then its biases as the last column, which belongs
    to a feature that is always 1. Values and gradients are in double precision.

    Args:
        features: `[N, F]`, not standardised; may be mapped from a file.
        labels: `[N]` int64, every class 0..C-1 present.
    """

    def __init__(self, features: Tensor, labels: Tensor):
        self.features, self.labels = features, labels
        self.scale = standardisation(features)
        self._counts = labels.bincount()
        rows = max(1, BLOCK_ENTRIES // max(len(self._counts), features.shape[1] + 1))
        starts = range(0, len(labels), rows)
        self._blocks = _Blocks(partial(_read, features, labels, self.scale, rows), starts)

    def subset(self, columns: list[int]) -> "CrossEntropy":
        """The same loss on some of the features, which are copied into memory."""
        return CrossEntropy(self.features[:, columns], self.labels)

    def start(self) -> Tensor:
        """The optimal layer with zero weights: its biases are the log frequencies of the classes."""
        frequency = self._counts.double() / len(self.labels)
        weight = frequency.new_zeros(len(frequency), self.features.shape[1])
        return torch.cat([weight, frequency.log()[:, None]], 1)

    def value_and_gradient(self, coefficients: Tensor) -> tuple[float, Tensor]:
        """The loss and its gradient in the coefficients, `[C, F + 1]`."""
        value, gradient = coefficients.new_zeros(()), torch.zeros_like(coefficients)
        used = coefficients.any(0)  # only a few of a backbone's features
        for x, labels in self._blocks:
            logits = x[:, used] @ coefficients[:, used].T  # [rows, C]
            true = labels[:, None]
            logits -= logits.amax(1, keepdim=True)
            value -= logits.gather(1, true).sum()
            residual = logits.exp_()  # in place throughout
            total = residual.sum(1, keepdim=True)
            value += total.log().sum()
            residual /= total
            residual.scatter_add_(1, true, residual.new_full((), -1.0).expand_as(true))
            gradient.addmm_(residual.T, x)
        return value.item() / len(self.labels), gradient / len(self.labels)

    def curvature(self, coefficients: Tensor) -> "Curvature":
        """The Hessian at these coefficients."""
        return Curvature(self._blocks, coefficients, len(self.labels))

    def n_correct(self, coefficients: Tensor) -> int:
        """How many samples are classified correctly."""
        predictions = ((x @ coefficients.T).argmax(1) == labels for x, labels in self._blocks)
        return sum(right.sum().item() for right in predictions)

    def standardised(self) -> Tensor:
        """All features at once, `[N, F]` in single precision, for solvers that need them so."""
        return torch.cat([x[:, :-1].float() for x, _ in self._blocks])


class Curvature:
    """The Hessian of the loss at one layer, in single precision, which takes half the time: it only directs a step.

    Class probabilities are computed again for every product unless there is a single block. That about doubles the work
    of a product but saves an array of samples x classes, 5 GiB for ImageNet.
    """

    def __init__(self, blocks: "_Blocks", coefficients: Tensor, n_samples: int):
        layer = coefficients.float()

        def with_probabilities(block: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            x = block[0].float()
            return x, (x @ layer.T).softmax(1)

        self._blocks = _Blocks(with_probabilities, blocks)
        self._layer, self._n_samples = layer, n_samples

    def product(self, direction: Tensor) -> Tensor:
        """The Hessian times a direction `[C, F + 1]`."""
        product = torch.zeros_like(direction)
        for x, probabilities in self._blocks:
            change = x @ direction.T  # [rows, C], of the logits
            change *= probabilities
            change.addcmul_(probabilities, change.sum(1, keepdim=True), value=-1)
            product.addmm_(change.T, x)
        return product / self._n_samples

    def class_blocks(self) -> Tensor:
        """The Hessian's diagonal block of every class, `[C, F + 1, F + 1]`."""
        F = self._layer.shape[1]
        rows = max(1, BLOCK_ENTRIES // F**2)
        blocks = self._layer.new_zeros(len(self._layer), F * F)
        for x, probabilities in self._blocks:
            spread = probabilities * (1 - probabilities)
            for part, weights in zip(x.split(rows), spread.split(rows), strict=True):
                blocks.addmm_(weights.T, (part[:, :, None] * part[:, None]).flatten(1))
        return blocks.view(-1, F, F) / self._n_samples


class _Blocks:
    """`make(part)` for every part, made again in every loop; a single block is made once and kept."""

    def __init__(self, make: Callable[[Any], Any], parts: "Sequence | _Blocks"):
        self._make, self._parts = make, parts
        self._kept = [make(part) for part in parts] if len(parts) == 1 else None

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator:
        return iter(self._kept) if self._kept else map(self._make, self._parts)


def _read(features, labels, scale: Standardisation, rows: int, start: int) -> tuple[Tensor, Tensor]:
    """Standardised features with a column of ones `[rows, F + 1]` float64, and labels `[rows]`."""
    part = slice(start, start + rows)
    x = scale.apply(features[part])
    return torch.cat([x, x.new_ones(len(x), 1)], 1), labels[part]
