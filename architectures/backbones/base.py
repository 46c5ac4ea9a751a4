"""What the classifier asks of a backbone, and what is known of one before it is built."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class Backbone(nn.Module, ABC):
    """A network from images to feature maps that are never negative.

    Its parameter names are those of the published checkpoints of its family.

    Attributes:
        n_features: number of feature maps, F.
        receptive_field: side, in pixels, of the part of the image that a cell of the maps depends on; None if that is
            (practically) the whole image.
        first_centre: centre of the first cell's receptive field, pixels from the edge of the image.
        pooling: how a map is reduced to a feature of the image: `mean` or `max`.
        ends_in_relu: whether the network's last maps are >= 0 already.
        frozen: whether nothing but the adapter is trained.
        adapter: 1 x 1 convolutions behind the network, or None.
    """

    n_features: int
    receptive_field: int | None = None
    first_centre: float = 0.5
    pooling: str = "mean"
    ends_in_relu: bool = False
    adapter: nn.Module | None

    def __init__(self):
        super().__init__()
        self.frozen = False
        self.register_module("adapter", None)
        self._frozen_modules: list[nn.Module] = []

    @abstractmethod
    def maps(self, images: Tensor) -> Tensor:
        """The network's last maps, before the adapter: `[B, 3, S, S]` -> `[B, F, H, W]`, of any sign."""

    def forward(self, images: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Feature maps, >= 0.

        Args:
            images: normalised, `[B, 3, S, S]`.
            wanted: indices of the maps that are needed, `[n]`; None: all F.

        Returns:
            `[B, n, H, W]`.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.maps(images)
        return self._features(maps, wanted)

    def _features(self, maps: Tensor, wanted: Tensor | None) -> Tensor:
        """Feature maps from the network's last maps, `[B, F, H, W]`; otherwise as `forward`."""
        if isinstance(self.adapter, nn.Conv2d) and wanted is not None:
            return conv2d(maps, self.adapter.weight[wanted], self.adapter.bias[wanted]).relu()
        if self.adapter is not None:
            maps = self.adapter(maps)
        maps = maps if wanted is None else maps[:, wanted]
        return maps if self.ends_in_relu and self.adapter is None else maps.relu()

    def pool(self, maps: Tensor) -> Tensor:
        """Features of images from their maps: `[B, n, H, W]` -> `[B, n]`."""
        return maps.amax(dim=(2, 3)) if self.pooling == "max" else maps.mean(dim=(2, 3))

    def seen_pixels(self, cell: int, n_cells: int, side: int) -> tuple[float, float]:
        """First and last edge of a cell's receptive field along one side of the image, pixels.

        Args:
            cell: its row or column.
            n_cells: rows or columns of the maps.
            side: of the image, pixels.
        """
        reach = (self.receptive_field or 2 * side) / 2
        centre = self.first_centre + cell * side / n_cells
        return max(0.0, centre - reach), min(float(side), centre + reach)

    def reduce_strides(self, reduced: bool) -> None:
        """Let late stages keep the resolution of their input, or halve it as usual; no effect on other backbones."""

    def freeze(self) -> None:
        """Train only a 1 x 1 convolution behind the network, the identity at first.

        It mixes maps before the ReLU, so the negative values of a network's maps are not lost.
        """
        self._freeze_modules(self.children())
        self.frozen = True
        self.adapter = nn.Conv2d(self.n_features, self.n_features, 1)
        nn.init.dirac_(self.adapter.weight)
        nn.init.zeros_(self.adapter.bias)

    def train_last_stage(self) -> bool:
        """Train only the last stage of the network, frozen until then or not, and what follows it.

        Returns:
            Whether the network has a stage that can be trained alone; if not, nothing changes.
        """
        return False

    def _freeze_modules(self, modules: Iterable[nn.Module]) -> None:
        """Train all but these modules; their batch normalisation keeps its statistics."""
        self.frozen = False
        self._frozen_modules = list(modules)
        self.requires_grad_(True)
        for module in self._frozen_modules:
            module.requires_grad_(False)
        self.train(self.training)

    @property
    def has_frozen_part(self) -> bool:
        """Whether the first layers are frozen, so that their maps of an image never change."""
        return bool(self._frozen_modules)

    def frozen_maps(self, images: Tensor) -> Tensor:
        """Maps of the frozen part, from normalised images: `[B, 3, S, S]` -> `[B, F', H', W']`."""
        return self.maps(images) if self.frozen else self._before_last_stage(images)

    def from_frozen(self, maps: Tensor, wanted: Tensor | None) -> Tensor:
        """Feature maps from what `frozen_maps` returned; otherwise as `forward`."""
        return self._features(maps if self.frozen else self._after_last_stage(maps), wanted)

    def _before_last_stage(self, images: Tensor) -> Tensor:
        """Input of the last stage, for images; only for backbones that can train it alone."""
        raise NotImplementedError

    def _after_last_stage(self, maps: Tensor) -> Tensor:
        """The last maps, from the input of the last stage."""
        raise NotImplementedError

    def scale_maps(self, indices: Tensor, factors: Tensor) -> None:
        """Multiply maps of a frozen network by scaling its adapter.

        Args:
            indices: of the maps, `[n]`.
            factors: positive, `[n]`.
        """
        last = self.adapter[-1] if isinstance(self.adapter, nn.Sequential) else self.adapter
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        factors = factors.to(last.weight.device)
        last.weight[indices] *= factors[:, None, None, None]
        last.bias[indices] *= factors

    def train(self, mode: bool = True) -> Self:
        """As for any module, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules:
            module.eval()
        return self


@dataclass(frozen=True)
class BackboneSpec:
    """What is known of a backbone without building it.

    Attributes:
        name: as on the command line, in its one spelling: `resnet50`.
        n_features: number of feature maps.
        img_size: side of the images it is made for, pixels.
        min_size, max_size: sides of the smallest and largest images it takes, pixels; None: of any size.
        size_step: pixels that the side of an image must be a multiple of.
        mean, std: channel statistics its images are normalised with, pixels in [0, 1]; None: those of the dataset, as
            in the papers.
        interpolation: how its images are resized.
        receptive_field: see `Backbone`.
        must_be_frozen: whether it can only be used with `--freeze_backbone`.
        has_strides: whether `reduce_strides` has any effect.
    """

    name: str
    n_features: int
    img_size: int = 224
    min_size: int = 32
    max_size: int | None = None
    size_step: int = 1
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str = "bilinear"
    receptive_field: int | None = None
    must_be_frozen: bool = False
    has_strides: bool = False
