"""Image transforms of the four papers, split where randomness begins.

What is the same in every epoch (resizing) comes first and may be cached; what is random comes after it. PIL images in
RGB go in, normalised tensors `[3, img_size, img_size]` come out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

# Eigenvalues and -vectors of RGB over ImageNet (Krizhevsky et al., 2012, section 4.1), pixels in [0, 1].
LIGHTING_VALUES = torch.tensor([0.2175, 0.0188, 0.0045])
LIGHTING_VECTORS = torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

JITTER = transforms.ColorJitter(0.1, 0.1, 0.1)  # brightness, contrast and saturation, each within 1 +- 0.1
LONGEST = 16  # ratio of the sides from which only the middle of an image is used, or it would fill the memory


@dataclass(frozen=True)
class Resize:
    """Resize to a square of `size` pixels, or the short side to `size` with the shape kept."""

    size: int
    square: bool
    interpolation: str = "bilinear"  # as torchvision names it; antialiased

    def __call__(self, image: Image.Image) -> Image.Image:
        """The resized image."""
        size = (self.size, self.size) if self.square else self.size
        longest = LONGEST * min(image.size)
        if not self.square and max(image.size) > longest:
            image = transforms.functional.center_crop(image, [min(side, longest) for side in reversed(image.size)])
        mode = transforms.InterpolationMode(self.interpolation)
        return transforms.functional.resize(image, size, mode)


@dataclass(frozen=True)
class ImageTransform:
    """`finish(resize(image))`; `resize` is None if the random part needs the full image."""

    resize: Resize | None
    finish: Callable

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """The tensor that the network sees."""
        return self.finish(self.resize(image) if self.resize else image)


@dataclass(frozen=True)
class FixedTransform:
    """A deterministic transform: resize, centre crop, normalise."""

    resize: Resize
    side: int  # of the square that is cut from the middle, pixels
    # `mean`, `std`: channel statistics, pixels in [0, 1]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @cached_property
    def finish(self) -> Callable:
        """All that comes after resizing."""
        return transforms.Compose([transforms.CenterCrop(self.side), *to_normalised(self.mean, self.std)])

    def places(self, fractions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Positions of points of an image in the network's input.

        Args:
            fractions: x and y as fractions of the image, `[..., 2]`.
            size: width and height of the image, pixels.

        Returns:
            Fractions of the network's input, `[..., 2]`; outside [0, 1] if a point is cut off.
        """
        scale = self.resize.size / np.array(size if self.resize.square else min(size))
        resized = np.floor(np.array(size) * scale + 1e-6)  # as torchvision rounds
        return (fractions * resized - np.round((resized - self.side) / 2)) / self.side

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """The tensor that the network sees."""
        return self.finish(self.resize(image))


def interpolated(transform: ImageTransform | FixedTransform, interpolation: str) -> ImageTransform | FixedTransform:
    """The same transform with another interpolation; one that does not resize is returned unchanged."""
    if transform.resize is None:
        return transform
    return replace(transform, resize=replace(transform.resize, interpolation=interpolation))


class Lighting:
    """PCA lighting: adds the colour directions of ImageNet, each with a random strength (standard deviation `std`)."""

    def __init__(self, std: float):
        self.std = std

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The relit image `[3, H, W]`; values may leave [0, 1]."""
        strength = torch.randn(3) * self.std * LIGHTING_VALUES
        return image + (LIGHTING_VECTORS @ strength)[:, None, None]


def to_normalised(mean, std) -> list:
    """Steps from a PIL image to a tensor normalised by the channel statistics `mean` and `std`."""
    return [transforms.ToTensor(), transforms.Normalize(mean, std)]


def fine_grained_train(img_size, mean, std, *, square: bool) -> ImageTransform:
    """Training on birds and cars: (random crop unless square,) flip, jitter 0.1, TrivialAugmentWide."""
    crop = [] if square else [transforms.RandomCrop(img_size, padding=4)]
    augment = [transforms.RandomHorizontalFlip(), JITTER, transforms.TrivialAugmentWide()]
    finish = transforms.Compose([*crop, *augment, *to_normalised(mean, std)])
    return ImageTransform(Resize(img_size, square), finish)


def fine_grained_test(img_size, mean, std, *, square: bool) -> FixedTransform:
    """Testing on birds and cars: the square, or the centre of the image."""
    return FixedTransform(Resize(img_size, square), img_size, tuple(mean), tuple(std))


def drawn_train(img_size, mean, std) -> ImageTransform:
    """Training on drawn birds, whose scenes vary already: flip, shift by up to 1/16 of the side, jitter 0.1."""
    crop = transforms.RandomCrop(img_size, padding=img_size // 16, padding_mode="edge")
    augment = [crop, transforms.RandomHorizontalFlip(), JITTER]
    finish = transforms.Compose([*augment, *to_normalised(mean, std)])
    return ImageTransform(Resize(img_size, square=True), finish)


def imagenet_train(img_size, mean, std) -> ImageTransform:
    """Training on ImageNet: random resized crop, flip, jitter 0.1, PCA lighting 0.05."""
    to_tensor, normalise = to_normalised(mean, std)
    crop = transforms.RandomResizedCrop(img_size)
    augment = [crop, transforms.RandomHorizontalFlip(), JITTER]
    finish = transforms.Compose([*augment, to_tensor, Lighting(0.05), normalise])
    return ImageTransform(None, finish)


def imagenet_test(img_size, mean, std) -> FixedTransform:
    """Testing on ImageNet: short side to 256/224 of `img_size`, then its centre."""
    resize = Resize(round(img_size * 256 / 224), square=False)
    return FixedTransform(resize, img_size, tuple(mean), tuple(std))
