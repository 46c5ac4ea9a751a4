"""Where in the image a feature is seen, and with what certainty.

A heatmap shows two things (CHiQPM, arXiv 2511.20779): its shape tells where the feature was found, its peak how certain
the model is that the feature is there at all. Certainty is the feature's activation divided by its active mean (the
upper mode of a two-component Gaussian mixture over the training images), at most 1. So heatmaps of different images and
features share one scale.
"""

import numpy as np
import torch
from pytorch_grad_cam.utils.image import show_cam_on_image
from torch import Tensor
from torch.nn.functional import interpolate

# How much of the grey photograph shines through; the rest is the white-to-colour scale of the feature.
PHOTO_WEIGHT = 0.3


def heatmap(feature_map, size, activation_scale=1.0, gamma=3.0) -> Tensor:
    """Heatmap of one feature in one image, in [0, 1]; its peak is the certainty of the feature.

    Args:
        feature_map: raw map, `[h, w]`; leading dimensions are independent maps, `[..., h, w]`.
        size: `(H, W)` of the image in pixels, or one number for a square.
        activation_scale: certainty, activation over active mean, a number or `[...]`; clipped to [0, 1].
        gamma: above 1, concentrates the colour on the strongest places; the peak does not change.

    Returns:
        `[..., H, W]`, bilinearly resized, every map normalised on its own.

    Raises:
        ValueError: if the map has fewer than two dimensions.
    """
    maps = torch.as_tensor(feature_map)
    if maps.ndim < 2:
        raise ValueError(f"A feature map has at least 2 dimensions, got shape {tuple(maps.shape)}.")
    height, width = (size, size) if isinstance(size, int) else (int(side) for side in size)
    maps = maps.detach().to(torch.promote_types(maps.dtype, torch.float32))
    leading = maps.shape[:-2]
    maps = maps.reshape(-1, 1, *maps.shape[-2:])  # (maps, 1, h, w)
    maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
    maps = maps / (1e-7 + maps.amax(dim=(-2, -1), keepdim=True))
    maps = interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)
    maps = maps.reshape(*leading, height, width)
    certainty = torch.as_tensor(activation_scale, dtype=maps.dtype).clamp(0, 1)
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    # A constant map marks no place: it stays blank.
    shape = torch.where(peak > 0, maps / peak, 0.0) ** gamma
    return shape * peak * certainty[..., None, None]


def certainty(features: Tensor, active_means: Tensor) -> Tensor:
    """Certainty that each feature is there, in [0, 1]: activation over active mean, `[..., n]`."""
    return (features / active_means.clamp(min=1e-6)).clamp(0, 1)


def overlay(image: np.ndarray, heat: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """The photograph in pale grey under the heatmap in the feature's colour, `[H, W, 3]` uint8 RGB.

    Args:
        image: RGB in [0, 1], `[H, W, 3]`.
        heat: heatmap in [0, 1], `[H, W]`.
        colour: RGB in [0, 1] that stands for a certainty of 1; white stands for 0.
    """
    grey = np.asarray(image, dtype=np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    grey = np.repeat(grey[..., None], 3, axis=2).clip(0, 1)  # (H, W) -> (H, W, 3)
    return show_cam_on_image(
        grey, np.asarray(heat), use_rgb=True, colormap=_colour_scale(colour), image_weight=PHOTO_WEIGHT
    )


def _colour_scale(colour: tuple[float, float, float]) -> np.ndarray:
    """White to `colour` in 256 steps, in OpenCV's order (blue first), `[256, 1, 3]` uint8."""
    strength = np.linspace(0, 1, 256)[:, None]
    scale = (1 - strength) + strength * np.asarray(colour[::-1])
    return np.round(255 * scale).astype(np.uint8)[:, None, :]
