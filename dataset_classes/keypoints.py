"""Where the parts of an object are in images, if the dataset tells: to measure explanations, never to train."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Keypoints:
    """The parts in every image of a dataset, under the transform of the network's input."""

    names: tuple[str, ...]  # of the P parts
    locations: np.ndarray  # x and y as fractions of the network's image, [N, P, 2]
    visible: np.ndarray  # which parts are visible in it, [N, P] bool

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Locations and visibility as tensors."""
        return torch.from_numpy(self.locations), torch.from_numpy(self.visible)

    @property
    def sides_merged(self) -> tuple[tuple[str, ...], np.ndarray]:
        """The parts without left and right: their Q names, and the index among them of every part, `[P]`."""
        plain = [name.removeprefix("left ").removeprefix("right ") for name in self.names]
        merged = tuple(dict.fromkeys(plain))
        return merged, np.array([merged.index(name) for name in plain])
