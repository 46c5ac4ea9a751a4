"""Functions of feature maps and activations that losses, locality statistics, hierarchy and metrics share."""

import numpy as np
import torch
from torch import Tensor


def spatial_softmax(feature_maps: Tensor) -> Tensor:
    """Softmax of every map over its positions: `[..., H, W]` -> `[..., H*W]`, each row sums to 1."""
    return feature_maps.flatten(-2).softmax(dim=-1)


def peak_positions(feature_maps: Tensor) -> Tensor:
    """Row and column of every map's first maximum: `[..., H, W]` -> `[..., 2]`, integers."""
    flat = feature_maps.flatten(-2).argmax(dim=-1)
    return torch.stack(torch.unravel_index(flat, feature_maps.shape[-2:]), dim=-1)


def strongest_first(features: Tensor | np.ndarray) -> Tensor:
    """Indices along the last dimension by activation, highest first; ties go to the lower index."""
    return torch.as_tensor(features).sort(dim=-1, descending=True, stable=True).indices


def relative_peaks(feature_maps: Tensor) -> Tensor:
    """Row and column of every map's maximum as fractions of the image (centre of the cell), `[..., 2]`."""
    cells = torch.tensor(feature_maps.shape[-2:], device=feature_maps.device)
    return (peak_positions(feature_maps) + 0.5) / cells


def distances_of_cells(positions: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distances of the rows and columns of maps from positions, `[..., H]` and `[..., W]`.

    Args:
        positions: row and column as fractions of the image, `[..., 2]`; distances have the same unit.
        maps: `[..., H, W]`, for their size.
    """
    rows, columns = (
        (torch.arange(cells, device=maps.device) + 0.5) / cells - position[..., None]
        for cells, position in zip(maps.shape[-2:], positions.unbind(dim=-1), strict=True)
    )
    return rows, columns


def spatial_diversity(feature_maps: Tensor, logits: Tensor, weight: Tensor, k: int = 5) -> Tensor:
    """SID@k of every image, `[B]` float64 on the CPU; `evaluation.metrics.sid_at_k`, its mean, explains it.

    Args:
        feature_maps: `[B, F, H, W]`.
        logits: `[B, C]`.
        weight: class-feature weights, `[C, F]`.
        k: how many of the predicted class's most important features; nan where it has fewer non-zero weights.
    """
    weight = torch.as_tensor(weight).detach()[logits.argmax(dim=1)]  # [B, F]
    top = weight.topk(min(k, weight.shape[1]), dim=1).indices
    maps = feature_maps.gather(1, top[:, :, None, None].expand(-1, -1, *feature_maps.shape[2:]))
    scale = maps.abs().mean(dim=(2, 3), keepdim=True).clamp(min=1e-5)
    largest = spatial_softmax(maps / scale).amax(dim=1).cpu()  # the GPUs of Apple lack float64
    covered = largest.sum(dim=1, dtype=torch.float64) / k
    return covered.where(weight.count_nonzero(dim=1).cpu() >= k, torch.nan)
