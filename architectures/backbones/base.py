"""What the classifier asks of a backbone, and what is known of one before it is built."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A network from images to feature maps that are never negative.

    Its parameter names are those of the published checkpoints of its family.

    Attributes:
        n_features: number of feature maps, F.
        receptive_field: side, in pixels, of the part of the image that a cell of the maps depends on; None where that
            is (practically) the whole image.
    """

    n_features: int
    receptive_field: int | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Feature maps of normalised images: `[B, 3, S, S]` -> `[B, F, H, W]`, >= 0."""

    def reduce_strides(self, reduced: bool) -> None:
        """Let late stages keep the resolution of their input, or halve it as usual; no effect if there are none."""


@dataclass(frozen=True)
class BackboneSpec:
    """What is known of a backbone without building it.

    Attributes:
        name: as on the command line, in its one spelling: `resnet50`.
        n_features: number of feature maps.
        img_size: side of the images it is made for, pixels.
        min_size: side of the smallest images it takes, pixels.
        mean, std: channel statistics its images are normalised with, pixels in [0, 1]; None: those of the dataset, as
            in the papers.
        interpolation: how its images are resized.
        receptive_field: see `Backbone`.
    """

    name: str
    n_features: int
    img_size: int = 224
    min_size: int = 32
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str = "bilinear"
    receptive_field: int | None = None
