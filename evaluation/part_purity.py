"""Whether a feature stays on one part, for images whose parts are known (CUB).

Part purity follows PIP-Net (Nauta et al., CVPR 2023), consistency and stability follow Huang et al. (ICCV 2023, arXiv
2212.05946). In PIP-Net a prototype is as strong in an image as its strongest patch. If a feature is the mean of its
map, the images in which it is largest need not be those of its strongest patches, so purity is measured on both.
Other differences: we take the centre of the map's largest cell as a feature's place, they take the maximum of a map
enlarged to the image; and in place of prototypes of one class, we take the features assigned to a class, in that
class's test images.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from architectures.activations import relative_peaks
from architectures.classifier import InterpretableClassifier
from architectures.inference import FeatureTable, FeatureTables, first_of_every_class, measured_columns
from configs.open_run import OpenRun
from dataset_classes.base import ImageDataset
from dataset_classes.keypoints import Keypoints
from evaluation.explanation_truth import part_under_peak

STRONGEST = 10  # images that purity is measured on
PATCH = 32 / 224  # side of the patch around a peak, as a share of the image's
REGION = 72 / 224  # the same for consistency and stability
CONSISTENT = 0.8  # share of the images in which a consistent feature lies on the same part
NOISE, NOISE_LIMIT = 0.2, 0.25  # standard deviation and largest value, on normalised images
DISTURBED_PER_CLASS = 10  # test images that stability is measured on: it takes another pass


def contained_parts(peaks: Tensor, locations: Tensor, visible: Tensor, side: float) -> Tensor:
    """Which visible parts lie in the square around every peak, `[N, n, P]` bool.

    Args:
        peaks: row and column as fractions of the image, `[N, n, 2]`.
        locations: x and y of the parts as fractions of the image, `[N, P, 2]`.
        visible: `[N, P]` bool.
        side: of the square, as a fraction of the image's.
    """
    distance = (peaks.unsqueeze(2) - locations.flip(2).unsqueeze(1)).abs().amax(dim=3)
    return (distance <= side / 2) & visible.unsqueeze(1)


def parts_of_patches(peaks: Tensor, keypoints: Keypoints) -> tuple[Tensor, Tensor]:
    """Which parts the patch of every feature holds, `[N, n, Q]`, and which its image shows, `[N, Q]`, bool.

    Patches lie around the peaks, `[N, n, 2]`, shifted inside the image if needed. Left and right parts count as one.
    """
    names, merged = keypoints.sides_merged
    locations, visible = keypoints.tensors()
    held = contained_parts(peaks.clamp(PATCH / 2, 1 - PATCH / 2), locations, visible, PATCH)  # (N, n, P)
    of_part = torch.nn.functional.one_hot(torch.from_numpy(merged), len(names))  # (P, Q)
    return held.long() @ of_part > 0, visible.long() @ of_part > 0


def part_purity(strength: Tensor, held: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """How often the patches of a feature hold the same part, in the images in which it is strongest (PIP-Net, 6.3).

    Args:
        strength: of the features in the images, `[N, n]`.
        held, shown: `parts_of_patches`.

    Returns:
        `(purity, share)`, `[n]` each. Purity is counted as in the published code: the largest share, over parts, among
        the patches in whose image the part is visible. `share` is that of the most frequent part among all patches.
    """
    rows = strength.topk(min(STRONGEST, len(strength)), dim=0).indices  # (R, n)
    count = held[rows, torch.arange(rows.shape[1])].sum(dim=0)  # (n, Q)
    purity = count / shown[rows].sum(dim=0).clamp(min=1)
    return purity.amax(dim=1), count.amax(dim=1) / len(rows)


@dataclass(frozen=True)
class UsualPart:
    """The part on which a feature's peak lies most often, and the share of the images where the feature is active."""

    name: str
    share: float

    def __str__(self) -> str:
        return f"{self.name} {self.share:.0%}"


def usual_parts(table: FeatureTable, keypoints: Keypoints) -> dict[int, UsualPart]:
    """The usual part of every feature that is active in an image with a visible part; best on unseen images."""
    names, merged = keypoints.sides_merged
    locations, visible = keypoints.tensors()
    nearest = part_under_peak(table.peaks, locations, visible)
    lies_on = torch.nn.functional.one_hot(torch.from_numpy(merged)[nearest], len(names))
    counts = (table.features > 0) & visible.any(dim=1, keepdim=True)  # (N, n)
    votes = (lies_on * counts.unsqueeze(2)).sum(dim=0)  # (n, Q)
    return {
        f: UsualPart(names[int(row.argmax())], (row.max() / row.sum()).item())
        for f, row in enumerate(votes)
        if row.any()
    }


def consistency(inside: Tensor, visible: Tensor, labels: Tensor, weight: Tensor) -> float:
    """Share of the assigned features that lie on the same part in at least 80 % of the class's images (Huang et al.).

    Args:
        inside: which parts lie around the features' peaks, `[N, n, P]` bool.
        visible: `[N, P]` bool; a part counts where it is visible.
        labels: `[N]`.
        weight: class-feature weights, `[C, n]`; a feature is assigned to a class if its weight is not 0.
    """
    n_classes = len(weight)
    held, seen = (torch.zeros(n_classes, *x.shape[1:]).index_add_(0, labels, x.float()) for x in (inside, visible))
    share = held / seen.unsqueeze(1).clamp(min=1)  # (C, n, P)
    consistent = (share >= CONSISTENT).any(dim=2)
    return _mean_over_assigned(consistent.double(), labels, weight)


def stability(inside: Tensor, disturbed: Tensor, labels: Tensor, weight: Tensor) -> float:
    """How often noise does not change the parts around the peak of an assigned feature (Huang et al.).

    Args:
        inside: which parts lie around the features' peaks, `[N, n, P]` bool.
        disturbed: the same on the images with noise.
        labels: `[N]`.
        weight: class-feature weights, `[C, n]`.
    """
    same = (inside == disturbed).all(dim=2).double()  # (N, n)
    total = torch.zeros(len(weight), same.shape[1], dtype=same.dtype).index_add_(0, labels, same)
    count = labels.bincount(minlength=len(weight)).clamp(min=1).unsqueeze(1)
    return _mean_over_assigned(total / count, labels, weight)


def _mean_over_assigned(values: Tensor, labels: Tensor, weight: Tensor) -> float:
    """Mean of `values` `[C, n]` over the features that classes with images have; nan without any."""
    has_images = torch.zeros(len(weight), dtype=torch.bool).index_fill_(0, labels, True)
    return values[(weight != 0) & has_images.unsqueeze(1)].mean().item()


class Disturbed(Dataset):
    """Some images of a dataset with noise that people hardly notice, the same every time."""

    def __init__(self, images: ImageDataset, rows: np.ndarray):
        self._images, self._rows = images, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int):
        image, label = self._images[int(self._rows[index])]
        generator = torch.Generator().manual_seed(int(self._rows[index]))
        noise = NOISE * torch.randn(image.shape, generator=generator)
        return image + noise.clamp(-NOISE_LIMIT, NOISE_LIMIT), label


def disturbed_peaks(run: OpenRun, model: InterpretableClassifier) -> Tensor:
    """Peaks of the maps of the first test images of every class under noise, `[R, n, 2]`."""
    images = run.data.test
    rows = first_of_every_class(torch.from_numpy(images.labels), DISTURBED_PER_CLASS).numpy()
    columns = measured_columns(
        model,
        Disturbed(images, rows),
        run.hardware,
        "Sparse model on disturbed images",
        lambda output, _: {"peaks": relative_peaks(output.feature_maps)},
    )
    return columns["peaks"]


def keypoint_results(
    weight: Tensor, tables: FeatureTables, keypoints: tuple[Keypoints, Keypoints], disturbed: Tensor
) -> dict[str, float]:
    """All measures under readable names, from class-feature weights `[C, n]` and, for stability, `disturbed_peaks`."""
    used = (weight != 0).any(dim=0)
    results: dict[str, float] = {}
    for split, table, points in zip(("train", "test"), tables, keypoints, strict=True):
        parts = parts_of_patches(table.peaks[:, used], points)
        purity, share = part_purity(table.pooled[:, used], *parts)
        strongest, _ = part_purity(table.peak_values[:, used], *parts)
        results |= {
            f"Part purity, {split}": purity.mean().item(),
            f"Part purity, {split}, standard deviation": purity.std(correction=0).item(),
            f"Part purity, {split}, all patches": share.mean().item(),
            f"Part purity, {split}, strongest patches": strongest.mean().item(),
        }
    test = tables.test
    locations, visible = keypoints[1].tensors()
    inside = contained_parts(test.peaks, locations, visible, REGION)
    rows = first_of_every_class(test.labels, DISTURBED_PER_CLASS)
    under_noise = contained_parts(disturbed, locations[rows], visible[rows], REGION)
    return results | {
        "Consistency": consistency(inside, visible, test.labels, weight),
        "Stability": stability(inside[rows], under_noise, test.labels[rows], weight),
    }
