"""torchvision's ResNets without their final layer, under torchvision's parameter names.

With reduced strides, layer3 and layer4 keep the resolution of layer2 (28 x 28 maps for 224 x 224 images), so that a
feature can be located on a part of the object (SLDD-Model, arXiv 2303.13166).
"""

from collections.abc import Iterable

from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck

from architectures.backbones.base import Backbone, BackboneSpec
from architectures.convolution import Conv2d

LAYOUTS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
N_FEATURES = {"resnet18": 512, "resnet34": 512, "resnet50": 2048}


class ResNetBackbone(Backbone):
    """A ResNet up to its last ReLU: `resnet18`, `resnet34` or `resnet50`."""

    ends_in_relu = True

    def __init__(self, name: str):
        super().__init__()
        block, layers = LAYOUTS[name]
        network = ResNet(block, list(layers))
        self.n_features = network.fc.in_features
        self.conv1, self.bn1, self.relu = network.conv1, network.bn1, network.relu
        self.maxpool = network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        self._quicken_convolutions()
        late = (*self.layer3.modules(), *self.layer4.modules())
        self._ordinary_strides = [(m, m.stride) for m in late if isinstance(m, nn.Conv2d)]

    def _quicken_convolutions(self) -> None:
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Conv2d):
                    setattr(module, name, Conv2d.like(child))

    def reduce_strides(self, reduced: bool) -> None:
        """Let layer3 and layer4 keep the resolution of their input, or halve it as the ordinary ResNet does."""
        for conv, stride in self._ordinary_strides:
            conv.stride = (1, 1) if reduced else stride

    def maps(self, images: Tensor) -> Tensor:
        """The last ReLU's output."""
        return self._after_last_stage(self._before_last_stage(images))

    def _before_last_stage(self, images: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer3(self.layer2(self.layer1(x)))

    def _after_last_stage(self, maps: Tensor) -> Tensor:
        return self.layer4(maps)

    def train_last_stage(self) -> bool:
        """Train layer4 and what follows it."""
        self._freeze_modules(c for c in self.children() if c not in (self.layer4, self.adapter))
        return True


def names() -> Iterable[str]:
    """All ResNets."""
    return LAYOUTS.keys()


def spec(name: str) -> BackboneSpec:
    """What is known of a ResNet."""
    return BackboneSpec(name, n_features=N_FEATURES[name], has_strides=True)


def build(name: str) -> Backbone:
    """A ResNet with random weights."""
    return ResNetBackbone(name)
