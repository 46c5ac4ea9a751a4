"""Pretrained networks of timm whose features each look at one place of the object, as the eye or the belly of a bird.

`tf_efficientnet_lite0@6places` looks at six. Filters of a middle layer find them, and training learns the filters
before anything else (training/places.py), from the images alone. Feature f is the mean of its map in a window around
place f modulo 6, times how visible the place is in this image (except in training). So a feature is trained on what is
seen there, and its map marks one part in all images; where that part is hidden, the feature is small.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, conv2d

from architectures.activations import distances_of_cells, relative_peaks
from architectures.backbones import timm_models
from architectures.backbones.base import Backbone, BackboneSpec
from architectures.backbones.timm_models import FINE_CELL, Layout, TimmBackbone
from architectures.backbones.truncated import network_of
from configs.errors import UsageError
from configs.recipes import PLACES

NUMBERS = (4, 6, 8, 10, 12)
MIDDLE_CELL = 16  # pixels, with ordinary strides: such layers show parts best; with reduced strides cells are finer
WINDOW = 2 / 28  # standard deviation of a window, as a share of the image's side
SLOPE = 0.5  # of a place's visibility over its best score


class _Reached(Exception):
    """The maps of the middle layer are there."""


@dataclass(frozen=True)
class Middle:
    """The layer that places are found in.

    Attributes:
        name: of its module in timm's network.
        channels: of its maps.
        late: those modules of `Layout.late` that come no later than this one.
        finer, first: as in `Layout`, of this layer.
    """

    name: str
    channels: int
    late: dict[str, int]
    finer: int
    first: int


class PlacedBackbone(TimmBackbone):
    """A network of timm whose maps are cut out around places.

    Args:
        network, layout: as in `TimmBackbone`.
        middle: the layer that places are found in.
        n_places: P.

    Attributes:
        places: a filter of the middle layer for each place; `training/places.py` learns them. Over the training images,
            the score of the best cell has a median of 0 and a standard deviation of 1.
    """

    def __init__(self, network: Any, layout: Layout, middle: Middle, n_places: int):
        super().__init__(network, layout)
        self._middle = middle
        self.n_places = n_places
        self.places = nn.Conv2d(middle.channels, n_places, 1)
        self.reduce_strides(False)

    def _is_fine(self, key: str) -> bool:
        """As for any network of timm, but the layers up to the middle one always have reduced strides."""
        return super()._is_fine(key) or key in self._middle.late

    def maps(self, images: Tensor) -> Tensor:
        """The network's last maps, followed by the window of every place, `[B, F + P, H, W]`."""
        with self._watched_middle() as seen:
            maps = super().maps(images)
        return self._with_windows(maps, self._windows(seen[0]))

    def middle_maps(self, images: Tensor) -> Tensor:
        """Maps of the middle layer with cells of `FINE_CELL` pixels: `[B, 3, S, S]` -> `[B, C, H', W']`."""
        with self._watched_middle(last=True) as seen, suppress(_Reached):
            super().maps(images)
        return seen[0]

    @contextmanager
    def _watched_middle(self, *, last: bool = False) -> Iterator[list[Tensor]]:
        """Notes the maps of the middle layer; later layers get the cells of ordinary strides, or do not run at all."""
        seen: list[Tensor] = []
        finer, first = self._middle.finer, self._middle.first

        def watch(module, inputs, output):
            seen.append(timm_models.spread(output, finer, first))
            if last:
                raise _Reached
            return output if self._reduced else output[..., first::finer, first::finer]

        handle = self.network.get_submodule(self._middle.name).register_forward_hook(watch)
        try:
            yield seen
        finally:
            handle.remove()

    @torch.no_grad()
    def _windows(self, middle: Tensor) -> Tensor:
        scores = place_scores(middle, self.places.weight[..., 0, 0], self.places.bias)
        return windows(scores) * visibility(scores)[..., None, None]

    def _freeze_modules(self, modules: Iterable[nn.Module]) -> None:
        super()._freeze_modules([*modules, self.places])

    def _with_windows(self, maps: Tensor, around: Tensor) -> Tensor:
        coarse = adaptive_avg_pool2d(around, (maps.shape[2], maps.shape[3]))
        kept_sum = around.sum(dim=(2, 3), keepdim=True) / coarse.sum(dim=(2, 3), keepdim=True)
        return torch.cat([maps, coarse * kept_sum], dim=1)

    def _features(self, maps: Tensor, wanted: Tensor | None) -> Tensor:
        maps, around = maps[:, : -self.n_places], maps[:, -self.n_places :]
        if self.training:  # a network that sees how visible places are learns to compensate for it (docs/truth.md)
            around = around / around.sum(dim=(2, 3), keepdim=True)
        maps = super()._features(maps, wanted)
        features = torch.arange(self.n_features, device=maps.device) if wanted is None else wanted
        # A feature is the mean over all cells: now the mean over the window, times the window's sum.
        return maps * around[:, features % self.n_places] * maps[0, 0].numel()

    def _before_last_stage(self, images: Tensor) -> Tensor:
        with self._watched_middle() as seen:
            before = super()._before_last_stage(images)
        return self._with_windows(before, self._windows(seen[0]))

    def _after_last_stage(self, maps: Tensor) -> Tensor:
        last = super()._after_last_stage(maps[:, : -self.n_places])
        return self._with_windows(last, maps[:, -self.n_places :])


def place_scores(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """How much every cell of a middle layer looks like every place, averaged over 3 x 3 cells, `[B, P, H, W]`."""
    scores = conv2d(maps, weight[:, :, None, None], bias)
    return avg_pool2d(scores, 3, stride=1, padding=1, count_include_pad=False)


def windows(scores: Tensor) -> Tensor:
    """A Gaussian window around the best cell of every map, summing to 1, `[..., H, W]`."""
    rows, columns = (
        (-(away**2) / (2 * WINDOW**2)).softmax(dim=-1) for away in distances_of_cells(relative_peaks(scores), scores)
    )
    return rows[..., :, None] * columns[..., None, :]


def visibility(scores: Tensor) -> Tensor:
    """How clearly a place is seen at its best cell: `[..., H, W]` -> `[...]`, from 0 to 2, 1 at a score of 0."""
    return 2 * torch.sigmoid(SLOPE * scores.amax(dim=(-2, -1)))


@cache
def names() -> Iterable[str]:
    """All networks of timm with every number of places; `spec` refuses those that cannot have any."""
    return {f"{network}@{n}{PLACES}": None for network in timm_models.names() for n in NUMBERS}.keys()


def spec(name: str) -> BackboneSpec:
    """What is known of a network; errors as in `middle_of`."""
    network = network_of(name)
    middle_of(network)
    return replace(timm_models.spec(network), name=name, must_be_frozen=True)


def build(name: str) -> Backbone:
    """A network with random weights, and no places yet; errors as in `middle_of`."""
    network, n_places = network_of(name), int(name.partition("@")[2].removesuffix(PLACES))
    layout = timm_models.layout_of(network)
    return PlacedBackbone(timm_models.timm_network(network, **layout.options), layout, middle_of(network), n_places)


@cache
def middle_of(network: str) -> Middle:
    """The last layer of a network whose cells, with ordinary strides, have `MIDDLE_CELL` pixels.

    Raises:
        UsageError: if it has none, or its strides cannot be reduced.
    """
    layout = timm_models.layout_of(network)
    with torch.device("meta"):
        built = timm_models.timm_network(network, **layout.options)
    stages = [s for s in getattr(built, "feature_info", None) or () if s["reduction"] == MIDDLE_CELL]
    if not layout.late or not stages:
        raise UsageError(
            f"{network} has no places: that takes a layer with cells of {MIDDLE_CELL} pixels that can become smaller "
            f"({FINE_CELL} pixels)"
        )
    name = stages[-1]["module"]
    done = [key for key, _ in built.named_modules()]
    last = max(i for i, key in enumerate(done) if f"{key}.".startswith(f"{name}."))
    late = {key: times for key, times in layout.late.items() if done.index(key) <= last}
    return Middle(name, stages[-1]["num_chs"], late, *timm_models.ordinary_cells(built, late))
