"""Convolutional networks of timm that are cut off early: pretrained, yet a cell sees a bounded square of the image.

`tf_efficientnet_lite0@8` has the layers of `tf_efficientnet_lite0` until cells get larger than 8 pixels, followed by
1 x 1 convolutions, which see nothing more; PixPNet bounds what a prototype can see in this way (arXiv 2309.14531).
The receptive field is measured with NaN, which spreads through a network to exactly the cells that depend on a pixel.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from architectures.backbones import timm_models
from architectures.backbones.base import Backbone, BackboneSpec
from configs.errors import UsageError, reason

CELLS = (4, 8, 16)  # pixels
N_FEATURES = 256
PROBED_HEIGHT = 64  # of the probed images: the receptive field is measured from left to right only


@dataclass(frozen=True)
class Cut:
    """Where a network is cut off."""

    spec: BackboneSpec
    index: int  # of its last stage among those that timm offers
    channels: int  # of this stage
    first_centre: float  # see `Backbone`


class TruncatedBackbone(Backbone):
    """The first stages of a network of timm, and two 1 x 1 convolutions; its name is `NETWORK@CELL`."""

    def __init__(self, name: str):
        super().__init__()
        cut = cut_of(name)
        self.n_features = N_FEATURES
        self.receptive_field, self.first_centre = cut.spec.receptive_field, cut.first_centre
        self.network = stages(network_of(name), cut.index)
        self.adapter = nn.Sequential(
            nn.Conv2d(cut.channels, N_FEATURES, 1, bias=False),
            nn.BatchNorm2d(N_FEATURES),
            nn.ReLU(),
            nn.Conv2d(N_FEATURES, N_FEATURES, 1),
        )

    def maps(self, images: Tensor) -> Tensor:
        """Maps of the last stage."""
        return self.network(images)[-1]

    def freeze(self) -> None:
        """Train only the 1 x 1 convolutions."""
        self._freeze_modules([self.network])
        self.frozen = True


def network_of(name: str) -> str:
    """The name of the whole network."""
    return name.partition("@")[0]


def stages(network: str, index: int) -> Any:
    """The stages of a network up to one of them, with random weights."""
    return timm_models.timm_network(network, features_only=True, out_indices=(index,))


@cache
def names() -> Iterable[str]:
    """All networks of timm with every size of cells; `spec` refuses those that have no such cells."""
    return {f"{network}@{cell}": None for network in timm_models.names() for cell in CELLS}.keys()


def spec(name: str) -> BackboneSpec:
    """What is known of a network; errors as in `cut_of`."""
    return cut_of(name).spec


def build(name: str) -> Backbone:
    """A network with random weights; errors as in `cut_of`."""
    return TruncatedBackbone(name)


@cache
def cut_of(name: str) -> Cut:
    """Where a network is cut off; UsageError if it has no such cells, or they see the whole image."""
    network, cell = network_of(name), int(name.partition("@")[2])
    whole = timm_models.spec(network)
    try:
        with torch.device("meta"):
            info = timm_models.timm_network(network, features_only=True).feature_info
        reductions = list(info.reduction())
    except Exception as error:  # timm's networks raise whatever they like
        raise _cannot_be_cut(network, error) from None
    if cell not in reductions:
        sizes = ", ".join(str(r) for r in reductions if r in CELLS)
        raise UsageError(f"{network} has no cells of {cell} pixels; its cells have {sizes}")
    index = len(reductions) - 1 - reductions[::-1].index(cell)
    try:
        with torch.device("cpu"):  # also where the backbone itself is built without memory
            first, last, middle = seen_columns(stages(network, index), whole.img_size)
    except Exception as error:  # one that takes images of its own size alone, as transformers do
        raise _cannot_be_cut(network, error) from None
    if first == 0 or last == whole.img_size:
        raise UsageError(f"a cell of {name} sees the whole image: use {network} itself")
    known = replace(whole, name=name, n_features=N_FEATURES, receptive_field=last - first, has_strides=False)
    return Cut(known, index, info.channels()[index], (first + last) / 2 - middle * cell)


def _cannot_be_cut(network: str, error: Exception) -> UsageError:
    return UsageError(f"{network} cannot be cut off ({reason(error)})")


@torch.inference_mode()
def seen_columns(network: nn.Module, side: int) -> tuple[int, int, int]:
    """First and last (exclusive) column of pixels that a cell in the middle depends on, and the cell's own column.

    Args:
        network: returns a list of maps.
        side: width of the images, pixels.
    """
    network.eval().double()  # in double precision no convolution mixes neighbouring outputs
    blank = torch.zeros(1, 3, PROBED_HEIGHT, side, dtype=torch.float64)
    middle = network(blank)[-1].shape[-1] // 2

    def depends(columns: slice) -> bool:
        image = blank.clone()
        image[..., columns] = torch.nan
        maps = network(image)[-1]
        return bool(maps[..., maps.shape[-2] // 2, middle].isnan().any())

    # From each edge, the largest number of columns that the cell does not depend on.
    first = bisect_left(range(side), True, key=lambda n: depends(slice(0, n))) - 1
    last = side + 1 - bisect_left(range(side), True, key=lambda n: depends(slice(side - n, side)))
    return first, last, middle
