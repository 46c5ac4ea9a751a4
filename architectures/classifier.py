"""The classifier: a backbone that makes feature maps and a linear head, dense at first and sparse later.

State dicts have the keys of the published checkpoints: no prefix for the backbone, `linear.` for the head.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from architectures.backbones.base import Backbone
from architectures.backbones.registry import build_backbone
from architectures.backbones.weights import load_weights
from architectures.sparse_head import SparseHead

HEAD, BACKBONE = "linear.", "backbone."  # prefixes of parameter names


class ModelOutput(NamedTuple):
    """What one forward pass returns; `n` is the number of features the head uses."""

    logits: Tensor  # [B, C]
    features: Tensor  # [B, n], what the head multiplies with its weights
    feature_maps: Tensor  # [B, n, H, W], of the same n features, >= 0


class InterpretableClassifier(nn.Module):
    """Class scores from the average (of some backbones: the maximum) of every feature map.

    Args:
        head: dense, `nn.Linear(F, C)`, or sparse.
        dropout: share of the pooled features that a training step leaves out.

    Attributes:
        linear: the head, under its published name.
        has_classifier: whether the dense head came with the weights.
    """

    def __init__(self, backbone: Backbone, head: nn.Linear | SparseHead, dropout: float = 0.0):
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.linear = head
        self.has_classifier = False
        self.register_state_dict_post_hook(_to_published_keys)
        self.register_load_state_dict_pre_hook(_from_published_keys)

    def set_sparse_head(self, head: SparseHead, dropout: float = 0.0) -> None:
        """Replace the head by a sparse one, with its own dropout."""
        self.linear = head.to(self.class_weight.device)
        self.dropout = nn.Dropout(dropout)

    @property
    def class_weight(self) -> Tensor:
        """Final weights, `[C, n]`, of the dense or the sparse head."""
        return self.linear.weight

    def forward(self, images: Tensor) -> ModelOutput:
        """Logits, features and feature maps of a batch of normalised images `[B, 3, S, S]`."""
        head = self.linear
        maps = self.backbone(images, head.selection if isinstance(head, SparseHead) else None)
        # What explains, and the losses, are computed in full precision.
        with torch.autocast(images.device.type, enabled=False):
            maps = maps.to(self.class_weight.dtype)
            pooled = self.dropout(self.backbone.pool(maps))
            if isinstance(head, SparseHead):
                logits, features = head.of_selected(pooled)
                return ModelOutput(logits, features, maps)
            return ModelOutput(head(pooled), pooled, maps)


def _to_published_keys(model: nn.Module, state: dict[str, Any], prefix: str, _) -> None:
    for key in list(state):
        if key.startswith(prefix):  # all entries are put in again, so their order stays
            published = key.removeprefix(prefix).removeprefix(BACKBONE)
            state[prefix + published] = state.pop(key)


def _from_published_keys(model: nn.Module, state: dict[str, Any], prefix: str, *_) -> None:
    for key in list(state):
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and not name.startswith(HEAD):
            state[f"{prefix}{BACKBONE}{name}"] = state.pop(key)


def build_dense_model(
    arch: str,
    n_classes: int,
    weights: str = "none",
    reduced_strides: bool = True,
    dropout: float = 0.0,
    frozen: bool = False,
) -> InterpretableClassifier:
    """A classifier with a dense head and the requested weights.

    Args:
        weights: as in `load_weights`.
        reduced_strides: whether the late stages of the backbone keep their resolution.
        dropout: as in `InterpretableClassifier`.
        frozen: whether the backbone is frozen, see `Backbone.freeze`.

    Raises:
        UsageError: if there is no such backbone.
        RunError: as `load_weights`.
    """
    backbone = build_backbone(arch)
    backbone.reduce_strides(reduced_strides)
    if frozen:
        backbone.freeze()
    model = InterpretableClassifier(backbone, nn.Linear(backbone.n_features, n_classes), dropout)
    model.has_classifier = load_weights(model, arch, weights)
    return model
