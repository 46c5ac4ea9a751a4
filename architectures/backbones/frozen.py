"""A backbone in two parts: its network, or the first stages of it, which is not trained, and what follows, which is."""

from collections.abc import Callable

from torch import Tensor, nn

from architectures.backbones.base import Backbone
from architectures.classifier import InterpretableClassifier


class KeptPart(nn.Module):
    """A part that is not trained: `[B, 3, S, S]` -> its maps, of any sign, `[B, F', H', W']`.

    Args:
        backbone: whose part it is.
        maps: of this part, from normalised images; None: of all that is not trained.
    """

    def __init__(self, backbone: Backbone, maps: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        self._backbone = backbone
        self._maps = maps or backbone.kept_maps

    def forward(self, images: Tensor) -> Tensor:
        """Maps of normalised images."""
        return self._maps(images)


class TrainedPart(Backbone):
    """The part that is trained, as a backbone of its own: it takes the maps of the other in place of images."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.n_features, self.pooling = backbone.n_features, backbone.pooling
        self._whole = backbone

    def maps(self, images: Tensor) -> Tensor:
        """Maps of the part that is not trained, as they come in."""
        return images

    def forward(self, images: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Feature maps from maps of the part that is not trained; otherwise as of any backbone."""
        return self._whole.from_kept(images, wanted)


def trained_part(model: InterpretableClassifier) -> InterpretableClassifier:
    """A classifier of the same trained parameters that takes maps of the other part in place of images."""
    return InterpretableClassifier(TrainedPart(model.backbone), model.linear, model.dropout.p)
