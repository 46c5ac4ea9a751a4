"""The metrics of SLDD-Model, Q-SENN, QPM and CHiQPM (arXiv 2303.13166, 2312.13839, 2502.20130 and 2511.20779).

Pure functions, each returning a float; nan where a metric is not defined on its input.
N samples, F features, C classes, H x W feature maps. Arrays may be torch tensors or numpy arrays.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from architectures.activation_modes import activation_modes
from architectures.activations import spatial_diversity

# Elements worked on at a time: bounds intermediates to a few hundred MiB.
ELEMENTS_PER_CHUNK = 2**25


def _real(array):
    return torch.as_tensor(array).detach().double()


def _chunks(*rows: Tensor, width: int) -> Any:
    """The rows in chunks of at most `ELEMENTS_PER_CHUNK` elements of `width` each."""
    size = max(1, ELEMENTS_PER_CHUNK // max(1, width))
    return zip(*(r.split(size) for r in rows), strict=True)


def sid_at_k(feature_maps: Tensor, logits: Tensor, weight: Tensor, k: int = 5) -> float:
    """Spatial diversity of the k most important features of the predicted class (SID@5), 1/k to 1.

    The maps of the features with the largest weights are divided by their mean magnitude and turned into distributions
    over positions by a softmax; the largest of the k at every position is summed over positions and divided by k.
    Samples whose class has fewer than k non-zero weights are left out; nan if none is left.

    Args:
        feature_maps: `[N, F, H, W]`.
        logits: `[N, C]`.
        weight: `[C, F]`.
    """
    feature_maps, logits = (torch.as_tensor(x).detach() for x in (feature_maps, logits))
    parts = _chunks(feature_maps, logits, width=feature_maps[0].numel())
    each = [spatial_diversity(maps, scores, weight, k) for maps, scores in parts]
    return torch.cat(each).nanmean().item()


def class_independence(features: Tensor, labels: Tensor, n_classes: int) -> float:
    """One minus the largest share of a feature's activation in one class, mean over features.

    Args:
        features: pooled features, `[N, F]`; their minimum is subtracted.
        labels: `[N]` integers.
    """
    features = torch.as_tensor(features).detach()
    labels = torch.as_tensor(labels, device=features.device).long()
    lowest = features.amin(dim=0).double()
    per_class = lowest.new_zeros(int(n_classes), features.shape[1])
    for rows, classes in _chunks(features, labels, width=features.shape[1]):
        per_class.index_add_(0, classes, rows.double() - lowest)
    share = per_class / per_class.sum(dim=0).clamp(min=1e-8)
    return float(1 - share.amax(dim=0).mean())


def feature_correlation(features: Tensor) -> float:
    """Largest cosine similarity of a feature with another, over samples, mean over features."""
    features = torch.as_tensor(features).detach()
    products = features.new_zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for (rows,) in _chunks(features, width=features.shape[1]):
        rows = rows.double()
        products += rows.T @ rows
    norms = products.diagonal().sqrt().clamp(min=1e-8)
    cosine = products / norms / norms[:, None]
    return float(cosine.fill_diagonal_(0).amax(dim=1).mean())


def structural_grounding(weight: Tensor, class_similarity: Tensor, top: int = 50) -> float:
    """Similarity in features of the most similar classes, over their true similarity.

    Args:
        weight: class-feature weights, `[C, F]`; classes are compared by the cosine of their rows.
        class_similarity: true similarity of classes, `[C, C]`, symmetric, diagonal 0.
        top: number of largest entries of `class_similarity` (ordered pairs) that count.
    """
    weight, truth = _real(weight), _real(class_similarity)
    directions = weight / weight.norm(dim=1, keepdim=True).clamp(min=1e-8)
    similarity = (directions @ directions.T).fill_diagonal_(0)
    largest = truth.flatten().topk(min(int(top), truth.numel()))
    total = float(largest.values.sum())
    if total == 0:
        return math.nan
    return float(similarity.flatten()[largest.indices.to(similarity.device)].sum()) / total


def contrastiveness(features: Tensor) -> float:
    """One minus the overlap of a pooled feature's two modes (`activation_modes`), mean over features; N >= 2."""
    return 1 - float(activation_modes(features).overlap().mean())


def set_coherence(sets: Tensor, class_similarity: Tensor) -> float:
    """Mean similarity of two different classes of a prediction set, pooled over sets.

    Args:
        sets: `[N, C]` booleans or 0/1.
        class_similarity: `[C, C]`.

    Returns:
        The mean over all ordered pairs of all sets; nan if every set has fewer than two classes.
    """
    sets, similarity = torch.as_tensor(sets), _real(class_similarity).clone().fill_diagonal_(0)
    total, pairs = 0.0, 0.0
    for (chunk,) in _chunks(sets, width=sets.shape[1]):
        members = chunk.to(similarity)
        total += float(((members @ similarity) * members).sum())
        size = members.sum(dim=1)
        pairs += float((size * (size - 1)).sum())
    return total / pairs if pairs else math.nan


def dependence(features: Tensor, logits: Tensor, weight: Tensor) -> float:
    """Share of the largest contribution to the predicted class's logit, mean over samples.

    Samples without any contribution are left out.

    Args:
        features: input of the head, `[N, F]`.
        logits: `[N, C]`.
        weight: `[C, F]`.
    """
    return dependence_of_predictions(features, torch.as_tensor(logits).argmax(dim=1), weight)


def dependence_of_predictions(features: Tensor, predicted: Tensor, weight: Tensor) -> float:
    """As `dependence`, given the predicted classes `[N]`."""
    features, predicted = torch.as_tensor(features).detach(), torch.as_tensor(predicted)
    weight = _real(weight).to(features.device)
    shares = []
    for rows, classes in _chunks(features, predicted, width=features.shape[1]):
        contribution = (rows.double() * weight[classes]).abs()
        total = contribution.sum(dim=1)
        shares.append((contribution.amax(dim=1) / total)[total > 0])
    return float(torch.cat(shares).mean())


def attribute_alignment(features: Tensor, attribute_table: Tensor | np.ndarray) -> float:
    """How much more active a feature is with its best attribute than without, mean over features.

    In units of the feature's mean activation above its minimum. Annotations with a certainty below 3 are left out, and
    so are attributes that are then never present or never absent.

    Args:
        features: pooled features `[N, F]`, rows in ascending order of image id.
        attribute_table: `[M, 4]` integers: image id, attribute id (from 1), present (0/1), certainty (1..4).

    Raises:
        ValueError: if the table does not annotate exactly N images.
    """
    matrix = alignment_matrix(features, attribute_table)
    best = matrix.nan_to_num(nan=-math.inf).amax(dim=1)
    return float(best.mean()) if best.isfinite().all() else math.nan


def alignment_matrix(features: Tensor, attribute_table: Tensor | np.ndarray) -> Tensor:
    """Gain in activation of features with attributes, `[F, A]`; arguments and errors as in `attribute_alignment`.

    nan for attributes that are never present or never absent.
    """
    features = _real(features)
    table = torch.as_tensor(attribute_table).to(features.device).long()
    images, row = table[:, 0].unique(return_inverse=True)
    if len(images) != len(features):
        raise ValueError(f"{len(features)} rows of features, {len(images)} images with attributes")
    n_attributes = int(table[:, 1].max())
    certain = table[:, 3] >= 3

    def mean_activation(chosen):  # (F, A), nan where nothing is chosen
        cells = (table[:, 1] - 1) * len(features) + row
        counts = cells[chosen].bincount(minlength=n_attributes * len(features))
        counts = counts.reshape(n_attributes, -1).double()
        return (counts @ features).T / counts.sum(dim=1)

    present = table[:, 2] == 1
    gain = mean_activation(certain & present) - mean_activation(certain & ~present)
    scale = (features - features.amin(dim=0)).mean(dim=0).clamp(min=1e-8)
    return gain / scale[:, None]
