"""Scenes of birds whose parts have looks, as local features would see them: mirrored, turned, scaled and moved."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from architectures.activations import relative_peaks
from dataset_classes.bird_parts import LOOKS
from dataset_classes.synthetic_birds import CLASS_PARTS, one_hot_looks
from sparsification.parts import Scenes

NAMES = [look for looks in LOOKS.values() for look in looks]
OF_LOOKS = one_hot_looks(CLASS_PARTS)
PER_CLASS, SPARE, CELLS = 5, 10, 16
PARTS = torch.tensor([[-0.3, 0.1], [-0.25, 0.3], [0.0, -0.1], [0.2, 0.1], [0.1, -0.35]])  # of a bird: row, column


def classes_with(look: str) -> Tensor:
    """`[C]` bool."""
    return torch.from_numpy(OF_LOOKS[:, NAMES.index(look)] > 0)


def presence(**changed: np.ndarray) -> Tensor:
    """How present features are in every class: of all looks, but for those that are changed, and of nothing."""
    shown = np.concatenate([OF_LOOKS, np.zeros((len(OF_LOOKS), SPARE))], axis=1)
    for look, column in changed.items():
        shown[:, NAMES.index(look)] = column
    return torch.from_numpy(0.9 * shown).float()


def uniform() -> Callable[..., Tensor]:
    """A generator of random numbers in [0, 1): shape -> float32."""
    rng = np.random.default_rng(0)
    return lambda *shape: torch.from_numpy(rng.random(shape)).float()


def where_parts_are(parts: Tensor, n: int, random: Callable[..., Tensor]) -> Tensor:
    """Parts of a bird, `[P, 2]`, in n images in which it is mirrored, turned, scaled and moved, `[n, P, 2]`."""
    angle, scale = 0.6 * random(n) - 0.3, 0.8 + 0.4 * random(n)
    turned = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    mirrored = torch.where(random(n, 1) < 0.5, parts.new_tensor([1, -1]), parts.new_tensor([1, 1]))
    placed = (parts * mirrored[:, None]) @ turned * scale[:, None, None]
    return placed + (0.5 + 0.05 * random(n, 1, 2))


def birds(shown: Tensor) -> Scenes:
    """Scenes of 5 images of every class.

    Args:
        shown: presence of features in classes, `[C, F]`, of the looks in order and of further ones, at the tail.
    """
    labels = torch.arange(len(shown)).repeat_interleave(PER_CLASS)
    n, random = len(labels), uniform()
    parts = where_parts_are(PARTS, n, random)
    maps = 0.02 * random(n, shown.shape[1], CELLS, CELLS)
    of_part = torch.arange(shown.shape[1]).clamp(max=len(NAMES) - 1) // 4
    image, feature = torch.meshgrid(torch.arange(n), torch.arange(shown.shape[1]), indexing="ij")
    row, column = (parts[:, of_part] * CELLS).long().clamp(0, CELLS - 1).unbind(dim=2)
    maps[image, feature, row, column] = shown[labels].clamp(min=0.02)
    means = avg_pool2d(maps, 3, stride=1, padding=1)
    return Scenes(maps.amax(dim=(2, 3)), labels, means.sqrt().half(), relative_peaks(means))
