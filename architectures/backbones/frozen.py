"""A frozen backbone in two parts: the network, which is not trained, and what follows it, which is."""

from torch import Tensor, nn

from architectures.backbones.base import Backbone
from architectures.classifier import InterpretableClassifier


class FrozenNetwork(nn.Module):
    """The part that is not trained: `[B, 3, S, S]` -> maps of any sign, `[B, F, H, W]`."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self._backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """The network's last maps of normalised images."""
        return self._backbone.maps(images)


class BehindNetwork(Backbone):
    """The part that is trained, as a backbone of its own: it takes the network's maps in place of images."""

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.n_features, self.pooling = backbone.n_features, backbone.pooling
        self.frozen, self.adapter = backbone.frozen, backbone.adapter

    def maps(self, images: Tensor) -> Tensor:
        """What comes in: maps of the frozen network, `[B, F, H, W]`."""
        return images


def trained_part(model: InterpretableClassifier) -> InterpretableClassifier:
    """A classifier of the same trained parameters that takes the frozen network's maps in place of images."""
    return InterpretableClassifier(BehindNetwork(model.backbone), model.linear, model.dropout.p)
