"""Networks whose cells see a small square of the image, so a feature can only respond to what lies under its peak.

A feature that sees the whole image can be caused by any part of it, wherever its map has its peak; bounding what a cell
sees is the idea of BagNets (arXiv 1904.00760) and PixPNet (arXiv 2303.13284). At every cell the features compete by a
softmax, as the prototypes of PIP-Net do (CVPR 2023): what lies there belongs to one of them, and values lie in [0, 1].
A feature of an image is the maximum of its map: the confidence that what it stands for is somewhere in the image.

The maps of a sparse model are means over neighbouring cells. Many cells see enough of a look to recognise it, even
some at its edge, next to another part; the mean peaks in the middle of them.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from architectures.backbones.base import Backbone, BackboneSpec

N_FEATURES = 128
SMOOTHED = 3  # cells along a side of the averaging window
WIDTH = 32  # channels of the first layers
# Stride of each 3 x 3 convolution; 1 x 1 convolutions follow. The names give the receptive field before the mean.
LAYOUTS = {"local15": (2, 1, 1, 2), "local19": (2, 1, 2, 1)}


class LocalBackbone(Backbone):
    """3 x 3 convolutions until a cell sees enough, then 1 x 1 convolutions and a competition of the features.

    Args:
        name: `local15` or `local19`: the number is how many pixels a cell sees in each direction.
    """

    ends_in_relu = True  # a softmax is >= 0 as well
    pooling = "max"

    def __init__(self, name: str):
        super().__init__()
        self.n_features = N_FEATURES
        self.receptive_field = receptive_field(LAYOUTS[name])
        layers, channels, step = [], 3, 1
        for stride in LAYOUTS[name]:
            step *= stride
            width = WIDTH if step < 4 else 2 * WIDTH
            layers.append(unit(channels, width, 3, stride))
            channels = width
        self.layers = nn.Sequential(*layers, unit(channels, N_FEATURES, 1, 1))
        self.features = nn.Conv2d(N_FEATURES, N_FEATURES, 1, bias=False)
        self.norm = nn.BatchNorm2d(N_FEATURES)
        self.log_sharpness = nn.Parameter(torch.zeros(()))  # of the competition

    def maps(self, images: Tensor) -> Tensor:
        """Share of every feature in every cell: `[B, 3, S, S]` -> `[B, F, S / 4, S / 4]`, adds up to 1 over F."""
        strength = self.norm(self.features(self.layers(images)))
        with torch.autocast(images.device.type, enabled=False):
            return (strength.float() * self.log_sharpness.exp()).softmax(dim=1)

    def forward(self, images: Tensor, wanted: Tensor | None = None) -> Tensor:
        """As for any backbone; if only some maps are wanted (sparse models), they are means over neighbouring cells."""
        maps = super().forward(images, wanted)
        if wanted is None:
            return maps
        return avg_pool2d(maps, SMOOTHED, stride=1, padding=SMOOTHED // 2)


def unit(n_in: int, n_out: int, kernel: int, stride: int) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
    )


def receptive_field(strides: Iterable[int]) -> int:
    """Receptive field of a sparse model's cell, pixels: 3 x 3 convolutions with these strides, and the mean."""
    field, step = 1, 1
    for stride in strides:
        field += 2 * step
        step *= stride
    return field + (SMOOTHED - 1) * step


def names() -> Iterable[str]:
    """All local networks."""
    return LAYOUTS.keys()


def spec(name: str) -> BackboneSpec:
    """What is known of a local network."""
    return BackboneSpec(name, n_features=N_FEATURES, img_size=64, receptive_field=receptive_field(LAYOUTS[name]))


def build(name: str) -> Backbone:
    """A local network with random weights."""
    return LocalBackbone(name)
