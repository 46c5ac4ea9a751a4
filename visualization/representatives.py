"""The image that represents a class: one that shows all its features, clearly and in different places."""

import numpy as np
import torch
from torch import Tensor

from architectures.inference import FeatureTable
from visualization.heatmaps import certainty


def representative_image(table: FeatureTable, weight: Tensor, label: int, active_means: Tensor) -> int | None:
    """Row of the class's most representative image, None if the table has no image of the class.

    Correctly classified images come first. Among them the best one has strong features (certainty, averaged over the
    features with positive weights) that peak far from one another (distance of two peaks, averaged over all pairs).

    Args:
        table: features, logits, labels and peaks of the images to choose from.
        weight: class-feature weights, `[C, n]`.
        active_means: `[n]`.
    """
    rows = torch.nonzero(table.labels == label).flatten()
    if len(rows) == 0:
        return None
    correct = table.predictions[rows] == label
    rows = rows[correct] if correct.any() else rows
    supporting = weight[label] > 0
    strength = certainty(table.features[rows][:, supporting], active_means[supporting]).mean(dim=1)
    score = strength * (1 + separation(table.peaks[rows][:, supporting]))
    return int(rows[score.argmax()])


def separation(peaks: Tensor) -> Tensor:
    """Mean distance between the peaks of an image's features, in image sides: `[N, k, 2]` -> `[N]`."""
    n_features = peaks.shape[1]
    if n_features < 2:
        return peaks.new_zeros(len(peaks))
    pairs = np.triu_indices(n_features, k=1)
    distance = (peaks[:, pairs[0]] - peaks[:, pairs[1]]).norm(dim=-1)  # (N, pairs)
    return distance.mean(dim=1)


def strongest_images(table: FeatureTable, feature: int, count: int) -> list[int]:
    """Rows of the images in which a feature is most active, the strongest first."""
    count = min(count, len(table))
    return table.features[:, feature].topk(count).indices.tolist()
