"""A backbone in two parts: its network, or the first stages of it, which is not trained, and what follows, which is."""

from torch import Tensor, nn

from architectures.backbones.base import Backbone
from architectures.classifier import InterpretableClassifier


class KeptPart(nn.Module):
    """The part that is not trained: `[B, 3, S, S]` -> its maps, of any sign, `[B, F', H', W']`."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self._backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Maps of normalised images."""
        return self._backbone.kept_maps(images)


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
