"""Where the object is in a photo: a proposal for the crop that the user can adjust.

torchvision's detector finds it if its weights are in torch's cache already (nothing is downloaded here); otherwise the
box is drawn around what the model's own features see.
"""

from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.models.detection import (
    FasterRCNN_MobileNet_V3_Large_320_FPN_Weights,
    fasterrcnn_mobilenet_v3_large_320_fpn,
)

WEIGHTS = FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1
CONFIDENT = 0.5  # score of a detection
SALIENT = 0.5  # share of the largest activation that belongs to the object
MARGIN = 0.05  # around the object, as a fraction of the photo's sides

# Left, top, right, bottom, as fractions of the photo's sides.
Edges = tuple[float, float, float, float]


@cache
def detector():
    """torchvision's detector in evaluation mode, or None if its weights are not in torch's cache."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS.url.rsplit("/", 1)[-1]
    if not file.is_file():
        return None
    return fasterrcnn_mobilenet_v3_large_320_fpn(weights=WEIGHTS, weights_backbone=None).eval()


@torch.inference_mode()
def detected(photo: Image.Image) -> Edges | None:
    """The most confident detection in a photo; None without a detector, or if it finds nothing."""
    network = detector()
    if network is None:
        return None
    (found,) = network([WEIGHTS.transforms()(photo)])
    if not len(found["scores"]) or found["scores"].max() < CONFIDENT:
        return None
    left, top, right, bottom = found["boxes"][found["scores"].argmax()].tolist()
    width, height = photo.size
    return _with_margin((left / width, top / height, right / width, bottom / height))


def salient(feature_maps: Tensor) -> Edges:
    """The box around the cells where the sum of the maps `[n, H, W]` is at least half of its largest value."""
    total = feature_maps.sum(dim=0)
    cells = total >= SALIENT * total.max()
    ends = []
    for along in (cells.any(dim=0), cells.any(dim=1)):  # columns, rows
        inside = along.nonzero().flatten()
        ends.append((inside[0].item() / len(along), (inside[-1].item() + 1) / len(along)))
    (left, right), (top, bottom) = ends
    return _with_margin((left, top, right, bottom))


def _with_margin(edges: Edges) -> Edges:
    outer = zip(edges, (-MARGIN, -MARGIN, MARGIN, MARGIN), strict=True)
    left, top, right, bottom = (round(min(1.0, max(0.0, x + by)), 3) for x, by in outer)
    return left, top, right, bottom
