"""A trained model from the figures' point of view: what it sees in an image, and the image that represents a class."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from architectures.activation_modes import activation_modes
from architectures.activations import peak_positions, relative_peaks
from architectures.classifier import InterpretableClassifier, ModelOutput
from architectures.inference import FeatureTable
from configs.hardware import Hardware
from dataset_classes.description import DataDescription
from evaluation.explanation_truth import causing_part, part_under_peak
from visualization.class_grid import GridRow
from visualization.heatmaps import certainty, heatmap
from visualization.representatives import representative_image


@dataclass(frozen=True)
class KnownParts:
    """The truth about the features of an image whose parts are known and can be replaced."""

    under_peak: Tensor  # the part nearest to the peak of every feature's map, [n]
    cause: Tensor  # the part that causes every feature, `evaluation.explanation_truth.causing_part`, [n]
    visible: Tensor  # which parts are visible, [P] bool


@dataclass(frozen=True)
class SeenImage:
    """One image and what the model sees in it."""

    picture: np.ndarray  # the network's input as RGB in [0, 1], [H, W, 3]
    features: np.ndarray  # input of the head, [n]
    logits: np.ndarray  # [C]
    feature_maps: Tensor  # [n, h, w]
    certainties: Tensor  # activation over active mean, in [0, 1], [n]
    parts: KnownParts | None = None  # None if its parts are unknown

    @property
    def predicted(self) -> int:
        """The class with the largest logit."""
        return int(self.logits.argmax())

    def heatmap(self, feature: int, side: int | None = None) -> np.ndarray:
        """Heatmap of a feature in [0, 1], in the size of the picture or a square of `side` pixels."""
        size = side or self.picture.shape[:2]
        return heatmap(self.feature_maps[feature], size, self.certainties[feature]).numpy()

    def marks(self, expected: Mapping[int, int] | None = None) -> dict[int, bool]:
        """Whether every active feature's peak is on the `expected` part, or else on its cause; empty if unknown."""
        if self.parts is None:
            return {}
        right = {int(f): int(self.parts.cause[f]) for f in np.flatnonzero(self.features > 0)}
        right |= {f: part for f, part in (expected or {}).items() if f in right}
        seen_on, visible = self.parts.under_peak, self.parts.visible
        return {f: int(seen_on[f]) == part for f, part in right.items() if visible[part]}


class Explainer:
    """Everything that figures need from a finished model.

    Args:
        model: with a sparse head, on the hardware's device.
        train: its feature table on the training images, for the features' active means.
        data: names of the classes, and the channel statistics of its images.
    """

    def __init__(self, model: InterpretableClassifier, hardware: Hardware, train: FeatureTable, data: DataDescription):
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
        """What the model sees in a transformed image `[3, H, W]`, from its output `[1, ...]`."""
        features = output.features[0].cpu()
        return SeenImage(
            self.picture(image),
            features.numpy(),
            output.logits[0].cpu().numpy(),
            output.feature_maps[0].cpu(),
            certainty(features, self.active_means),
        )

    @torch.inference_mode()
    def look(self, dataset, row: int) -> SeenImage:
        """What the model sees in an image of a dataset, and the truth about its parts if the dataset knows it."""
        seen = self.see(dataset[row][0])
        other_looks = getattr(dataset, "other_looks", None)
        if other_looks is None:
            return seen
        pool = self.model.backbone.pool
        visible = torch.as_tensor(dataset.part_visibility[row])[None]
        images = torch.stack([dataset.transform(image) for image in other_looks(row)])
        swapped = pool(self.model(self.hardware.to_device(images)).feature_maps).cpu()
        swapped = swapped.unflatten(0, (1, visible.shape[1], -1))  # (1, P, L, n)
        locations = torch.as_tensor(dataset.part_locations[row])[None]
        under_peak = part_under_peak(relative_peaks(seen.feature_maps)[None], locations, visible)
        cause = causing_part(pool(seen.feature_maps[None]), swapped, visible)
        return replace(seen, parts=KnownParts(under_peak[0], cause[0], visible[0]))

    def squares(self, seen: SeenImage, features: Iterable[int]) -> dict[int, tuple[float, ...]]:
        """Receptive fields of the cells under the features' peaks: left, top, right, bottom as fractions of the image.

        Only for features that are present in the image; empty if cells see the whole image.
        """
        backbone, (height, width) = self.model.backbone, seen.picture.shape[:2]
        n_rows, n_columns = seen.feature_maps.shape[1:]
        found: dict[int, tuple[float, ...]] = {}
        for f in features if backbone.receptive_field else ():
            if seen.certainties[f] > 0:
                row, column = peak_positions(seen.feature_maps[f]).tolist()
                top, bottom = backbone.seen_pixels(row, n_rows, height)
                left, right = backbone.seen_pixels(column, n_columns, width)
                found[f] = left / width, top / height, right / width, bottom / height
        return found

    def picture(self, image: Tensor) -> np.ndarray:
        """A transformed image `[3, H, W]` for people: RGB in [0, 1], `[H, W, 3]`."""
        return (image.permute(1, 2, 0).numpy() * self._std + self._mean).clip(0, 1)

    def class_features(self, label: int) -> dict[int, float]:
        """The features a class is made of, with their weights."""
        return {int(f): float(self.weight[label, f]) for f in np.flatnonzero(self.weight[label])}

    def row(
        self,
        seen: SeenImage,
        features: Sequence[int],
        name: str,
        label: int,
        bold: bool = False,
        expected: Mapping[int, int] | None = None,
    ) -> GridRow:
        """A row of a class grid: the image with the heatmaps of some features, in which those of a class are marked.

        `expected` as in `SeenImage.marks`.
        """
        return GridRow(
            label=name,
            image=seen.picture,
            heatmaps={f: seen.heatmap(f) for f in features},
            weights={f: w for f, w in self.class_features(label).items() if f in features},
            bold=bold,
            marks={f: right for f, right in seen.marks(expected).items() if f in features},
            squares=self.squares(seen, features),
        )


class ClassImages(Mapping):
    """The image that represents each class, `{class: SeenImage or None}`, computed on first access."""

    def __init__(self, explainer: Explainer, dataset, table: FeatureTable):
        self._explainer, self._dataset, self._table = explainer, dataset, table
        self._seen: dict[int, SeenImage | None] = {}

    def __getitem__(self, label: int) -> SeenImage | None:
        if label not in self._seen:
            weight = torch.from_numpy(self._explainer.weight)
            row = representative_image(self._table, weight, label, self._explainer.active_means)
            self._seen[label] = None if row is None else self._explainer.look(self._dataset, row)
        return self._seen[label]

    def __iter__(self):
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self._explainer.class_names)
