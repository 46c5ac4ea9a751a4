"""What local features see in some images of every class, and where."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from architectures.activations import relative_peaks
from architectures.classifier import InterpretableClassifier, ModelOutput
from architectures.inference import first_of_every_class, measured_columns
from configs.hardware import Hardware
from configs.recipes import PartsRecipe


@dataclass(frozen=True)
class Scenes:
    """Local features of the first images of every class, under the test transform; on the CPU."""

    pooled: Tensor  # maxima of the maps, in [0, 1], [N, F]
    labels: Tensor  # [N]
    maps: Tensor  # square roots of means over 3 x 3 cells of the maps, [N, F, H, W] float16
    peaks: Tensor  # where these are largest, as fractions of the image, [N, F, 2]

    def at(self, places: Tensor) -> Tensor:
        """The maps at one place of every image, `[N, F]`; places as fractions of the image, `[N, 2]`."""
        cells = places.new_tensor(self.maps.shape[2:])
        row, column = (places * cells).long().clamp(min=0).minimum(cells.long() - 1).T
        return self.maps[torch.arange(len(row)), :, row, column].float()


def collect_scenes(model: InterpretableClassifier, dataset, hardware: Hardware, recipe: PartsRecipe) -> Scenes:
    """The scenes of a dataset, in one pass over the first images of every class."""
    labels = torch.as_tensor(dataset.labels)
    each = max(1, min(recipe.images_per_class, recipe.images // len(labels.unique())))
    images = dataset.subset(first_of_every_class(labels, each).numpy())

    def measure(output: ModelOutput, labels: Tensor) -> dict[str, Tensor]:
        maps = avg_pool2d(output.feature_maps.float(), 3, stride=1, padding=1)
        height, width = maps.shape[2:]
        small = adaptive_avg_pool2d(maps, (min(recipe.cells, height), min(recipe.cells, width)))
        seen = {"maps": small.sqrt().half(), "peaks": relative_peaks(maps)}
        return {"pooled": output.features.float(), "labels": labels, **seen}

    return Scenes(**measured_columns(model, images, hardware, "Local features", measure))
