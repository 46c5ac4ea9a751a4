"""The interpretable head: few features, few of them per class (SLDD-Model, Q-SENN, QPM, CHiQPM).

Replaces the dense linear layer. Its state keys are those of the published models:
`selection, mean, std, layer.weight[, layer.bias]`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from architectures.tables import TensorTable
from configs.recipes import HeadRecipe

MIN_STD = 1e-6


@dataclass(frozen=True)
class SparseLayer(TensorTable):
    """The result of the selection: the features, their normalisation, and the weights of every class."""

    selection: Tensor  # indices of the selected backbone features, [n]
    weight: Tensor  # class-feature weights, [C, n]
    mean: Tensor  # mean of the selected pooled features on the training images, [n]
    std: Tensor  # their standard deviation, [n]
    bias: Tensor | None = None  # [C]


class SparseHead(nn.Module):
    """Class scores from the selected, normalised features.

    `x = (pooled[:, selection] - mean) / max(std, 1e-6)`, then ReLU for CHiQPM, then `logits = W x (+ bias)`.

    Args:
        selection: indices of the selected backbone features, `[n]`.
        weight: class-feature weights, `[C, n]`; never trained.
        mean: mean of the selected pooled features on the training images, `[n]`.
        std: their standard deviation, `[n]`.
        bias: `[C]`, never trained, or None.
        train_normalisation: whether `mean` and `std` are trained (Q-SENN and SLDD-Model).
        relu: whether negative normalised features are cut off (CHiQPM).

    Raises:
        ValueError: if the shapes do not fit together.
    """

    selection: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, selection, weight, mean, std, bias=None, train_normalisation=False, relu=False):
        super().__init__()
        if weight.ndim != 2:
            raise ValueError(f"weight must have shape [C, n], not {list(weight.shape)}")
        n_classes, n_features = weight.shape
        for name, vector, length in (
            ("selection", selection, n_features),
            ("mean", mean, n_features),
            ("std", std, n_features),
            ("bias", bias, n_classes),
        ):
            if vector is not None and tuple(vector.shape) != (length,):
                raise ValueError(f"{name} must have shape [{length}], not {list(vector.shape)}")
        self.relu = relu
        self.layer = nn.Linear(n_features, n_classes, bias=bias is not None)
        self.layer.requires_grad_(False)
        self.layer.weight.copy_(torch.as_tensor(weight))
        if bias is not None:
            self.layer.bias.copy_(torch.as_tensor(bias))
        self.register_buffer("selection", torch.as_tensor(selection, dtype=torch.long).clone())
        for name, vector in (("mean", mean), ("std", std)):
            vector = torch.as_tensor(vector).to(self.layer.weight.dtype).clone()
            if train_normalisation:
                self.register_parameter(name, nn.Parameter(vector))
            else:
                self.register_buffer(name, vector)

    @property
    def weight(self) -> Tensor:
        """Class-feature weights, `[C, n]`."""
        return self.layer.weight

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """`(logits [B, C], features [B, n])` from the pooled backbone features `[B, F]`."""
        return self.of_selected(pooled[:, self.selection])

    def of_selected(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """`(logits [B, C], features [B, n])` from the selected pooled features `[B, n]`."""
        features = (pooled - self.mean) / self.std.clamp(min=MIN_STD)
        features = features.relu() if self.relu else features
        return self.layer(features), features


def build_head(layer: SparseLayer, recipe: HeadRecipe) -> SparseHead:
    """The head of a model type with the selected features and weights."""
    return SparseHead(
        layer.selection,
        layer.weight,
        layer.mean,
        layer.std,
        layer.bias,
        train_normalisation=recipe.train_normalisation,
        relu=recipe.relu,
    )
