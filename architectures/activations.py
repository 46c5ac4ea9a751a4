"""What a feature map says about positions: shared by the losses, the locality statistics and the metrics."""

from torch import Tensor


def spatial_softmax(feature_maps: Tensor) -> Tensor:
    """Softmax of every map over its positions: `[..., H, W]` -> `[..., H*W]`, each row sums to 1."""
    return feature_maps.flatten(-2).softmax(dim=-1)


def peak_positions(feature_maps: Tensor) -> Tensor:
    """Row and column of every map's first maximum: `[..., H, W]` -> `[..., 2]`, integers."""
    width = feature_maps.shape[-1]
    flat = feature_maps.flatten(-2).argmax(dim=-1)
    return (flat[..., None] // flat.new_tensor([width, 1])) % flat.new_tensor(
        [feature_maps.shape[-2], width]
    )
