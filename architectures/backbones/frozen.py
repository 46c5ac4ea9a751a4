"""A backbone in two parts: its network, or the first stages of it, which is frozen, and the rest, which is trained."""

from collections.abc import Callable

from torch import Tensor, nn

from architectures.backbones.base import Backbone
from architectures.classifier import InterpretableClassifier


class FrozenPart(nn.Module):
    """The frozen part of a backbone: `[B, 3, S, S]` -> its maps, of any sign, `[B, F', H', W']`.

    Args:
        maps: makes the maps of some of its layers, from normalised images; None: `backbone.frozen_maps`.
    """

    def __init__(self, backbone: Backbone, maps: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        self._backbone = backbone
        self._maps = maps or backbone.frozen_maps

    def forward(self, images: Tensor) -> Tensor:
        """Maps of normalised images."""
        return self._maps(images)


class TrainedPart(Backbone):
    """The trained part, as a backbone of its own: it takes maps of the frozen part in place of images."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.n_features, self.pooling = backbone.n_features, backbone.pooling
        self._whole = backbone

    def maps(self, images: Tensor) -> Tensor:
        """Maps of the frozen part, unchanged."""
        return images

    def forward(self, images: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Feature maps from maps of the frozen part; otherwise as of any backbone."""
        return self._whole.from_frozen(images, wanted)


def trained_part(model: InterpretableClassifier) -> InterpretableClassifier:
    """A classifier that shares the trained parameters and takes maps of the frozen part in place of images."""
    return InterpretableClassifier(TrainedPart(model.backbone), model.linear, model.dropout.p)
