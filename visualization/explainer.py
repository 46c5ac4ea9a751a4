"""A trained model as the figures see it: what it finds in an image, and which image stands for a class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from architectures.activation_modes import activation_modes
from architectures.classifier import InterpretableClassifier, ModelOutput
from architectures.inference import FeatureTable
from configs.hardware import Hardware
from dataset_classes.description import DataDescription
from visualization.class_grid import GridRow
from visualization.heatmaps import certainty, heatmap
from visualization.representatives import representative_image


@dataclass(frozen=True)
class SeenImage:
    """One image and what the model sees in it.

    Attributes:
        picture: the image as the network gets it, RGB in [0, 1], `[H, W, 3]`.
        features: what the head multiplies, `[n]`.
        logits: `[C]`.
        feature_maps: `[n, h, w]`.
        certainties: activation over active mean, in [0, 1], `[n]`.
    """

    picture: np.ndarray
    features: np.ndarray
    logits: np.ndarray
    feature_maps: Tensor
    certainties: Tensor

    @property
    def predicted(self) -> int:
        """The class with the largest logit."""
        return int(self.logits.argmax())

    def heatmap(self, feature: int, side: int | None = None) -> np.ndarray:
        """Heatmap of a feature in [0, 1], in the size of the picture or a square of `side` pixels."""
        size = side or self.picture.shape[:2]
        return heatmap(self.feature_maps[feature], size, self.certainties[feature]).numpy()


class Explainer:
    """What figures need to know about a finished model.

    Args:
        model: with a sparse head, on the hardware's device.
        hardware: where the model runs.
        train: its feature table on the training images, for the features' active means.
        data: names of the classes, and the channel statistics of its images.
    """

    def __init__(
        self,
        model: InterpretableClassifier,
        hardware: Hardware,
        train: FeatureTable,
        data: DataDescription,
    ):
        self.model = model.eval()
        self.hardware = hardware
        self.class_names = [name.replace("_", " ") for name in data.classes]
        self.weight = model.class_weight.detach().cpu().numpy()
        self.active_means = activation_modes(train.features).active_mean.float()
        channels = (data.transform.mean, data.transform.std)
        self._mean, self._std = (np.array(x, dtype=np.float32) for x in channels)

    @torch.inference_mode()
    def see(self, image: Tensor) -> SeenImage:
        """What the model sees in one transformed image `[3, H, W]`."""
        return self.seen(image, self.model(self.hardware.to_device(image[None])))

    def seen(self, image: Tensor, output: ModelOutput) -> SeenImage:
        """What the model's output `[1, ...]` says it sees in a transformed image `[3, H, W]`."""
        features = output.features[0].cpu()
        return SeenImage(
            self.picture(image),
            features.numpy(),
            output.logits[0].cpu().numpy(),
            output.feature_maps[0].cpu(),
            certainty(features, self.active_means),
        )

    def picture(self, image: Tensor) -> np.ndarray:
        """A transformed image `[3, H, W]` for people: RGB in [0, 1], `[H, W, 3]`."""
        return (image.permute(1, 2, 0).numpy() * self._std + self._mean).clip(0, 1)

    def class_features(self, label: int) -> dict[int, float]:
        """The features a class is made of, with their weights."""
        return {int(f): float(self.weight[label, f]) for f in np.flatnonzero(self.weight[label])}

    def row(
        self, seen: SeenImage, features: Sequence[int], name: str, label: int, bold: bool = False
    ) -> GridRow:
        """A row of a class grid: the image with the heatmaps of some features, marked as of a class."""
        return GridRow(
            label=name,
            image=seen.picture,
            heatmaps={f: seen.heatmap(f) for f in features},
            weights={f: w for f, w in self.class_features(label).items() if f in features},
            bold=bold,
        )


class ClassImages(Mapping):
    """The image that stands for each class, `{class: SeenImage or None}`, looked at when first asked for.

    Args:
        explainer: the model.
        dataset: images to choose from.
        table: the model's feature table on them.
    """

    def __init__(self, explainer: Explainer, dataset, table: FeatureTable):
        self._explainer, self._dataset, self._table = explainer, dataset, table
        self._seen: dict[int, SeenImage | None] = {}

    def __getitem__(self, label: int) -> SeenImage | None:
        if label not in self._seen:
            weight = torch.from_numpy(self._explainer.weight)
            row = representative_image(self._table, weight, label, self._explainer.active_means)
            self._seen[label] = None if row is None else self._explainer.see(self._dataset[row][0])
        return self._seen[label]

    def __iter__(self):
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self._explainer.class_names)
