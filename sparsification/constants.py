"""The constants of the quadratic program, from the dense model's features (QPM, arXiv 2502.20130, section 3.1).

`A` tells how well a feature separates a class, `R` how similar two features are, `b` how local a feature is.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from architectures.activations import peak_positions, spatial_softmax
from sparsification.mean_shift import mean_shift

BIAS_SCALE = 0.1 * 10**0.5  # largest absolute bias
ONE_PLACE = 3 / 16  # of the image's side: peaks closer than this are in the same place
ROWS_AT_A_TIME = 2**12  # of features, in float64: 64 MiB for 2048 features


def class_feature_correlation(features: Tensor, labels: Tensor) -> Tensor:
    """Class-feature similarity `A`: Pearson correlation of feature and class membership (QPM, eq. 4).

    Args:
        features: pooled features, `[N, F]`.
        labels: classes 0..C-1, `[N]`; every class occurs.

    Returns:
        `[F, C]` float64, divided by its largest absolute entry. Constant features have correlation 0 (the published
        implementation divides by zero there). NaN everywhere if some feature is not finite.
    """
    features = torch.as_tensor(features)
    labels = torch.as_tensor(labels).long()
    n_samples, n_classes = len(labels), int(labels.max()) + 1
    counts = torch.bincount(labels, minlength=n_classes).double()
    mean, deviation = feature_moments(features)
    # Covariance with a 0/1 indicator needs only the class sums: no [N, C] array.
    covariance = (class_sums(features, labels) - counts[:, None] * mean) / n_samples  # [C, F]
    share = counts / n_samples
    scale = (share * (1 - share)).sqrt()[:, None] * deviation
    correlation = torch.where(scale == 0, 0.0, covariance / scale.clamp(min=1e-300)).T
    return correlation / correlation.abs().max().clamp(min=1e-300)


def class_sums(features: Tensor, labels: Tensor) -> Tensor:
    """Sum of every feature over the images of every class, `[C, F]` float64.

    Args:
        features: pooled features, `[N, F]`; read in parts, as by `feature_moments`.
        labels: classes 0..C-1, `[N]` int64.
    """
    shape = int(labels.max()) + 1, features.shape[1]
    sums = torch.zeros(shape, dtype=torch.float64, device=features.device)
    for rows, classes in zip(_rows(features), labels.split(ROWS_AT_A_TIME), strict=True):
        sums.index_add_(0, classes, rows)
    return sums


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """Mean of every feature over the images of every class, `[C, F]` float64; arguments as in `class_sums`."""
    return class_sums(features, labels) / labels.bincount()[:, None]


def feature_moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature, `([F], [F])` float64; exactly 0 for constant ones.

    Args:
        features: pooled features, `[N, F]`; may be mapped from a file, since it is read in parts.
    """
    features = torch.as_tensor(features)
    total = largest = squares = torch.zeros((), dtype=torch.float64, device=features.device)
    for rows in _rows(features):
        total = total + rows.sum(dim=0)
        largest = torch.maximum(largest, rows.abs().amax(dim=0))
    mean = total / len(features)
    for rows in _rows(features):
        squares = squares + (rows - mean).square().sum(dim=0)
    deviation = (squares / len(features)).sqrt()
    constant = deviation <= 1e-12 * largest.clamp(min=1e-300)  # not if it is NaN
    return mean, deviation.masked_fill(constant, 0.0)


def _rows(features: Tensor) -> Iterator[Tensor]:
    """The features in float64, some rows at a time: all together they may be larger than memory."""
    return (rows.double() for rows in features.split(ROWS_AT_A_TIME))


def feature_redundancy(correlation: Tensor) -> Tensor:
    """Redundancy `R` of feature pairs: cosine similarity of their rows of `A` (QPM, eq. 5).

    Args:
        correlation: `A`, `[F, C]`.

    Returns:
        `[F, F]` float64, strictly upper triangular, divided by the largest absolute similarity, negatives set to 0.
    """
    correlation = torch.as_tensor(correlation).double()
    unit = correlation / correlation.norm(dim=1, keepdim=True).clamp(min=1e-8)
    cosine = unit @ unit.T
    cosine = cosine / cosine.abs().max().clamp(min=1e-300)
    return cosine.triu(diagonal=1).clamp(min=0)


def locality_sums(feature_maps: Tensor, pooled: Tensor) -> Tensor:
    """A batch's contribution to the locality and the edge statistics of the features, `[2, F]` float64 on the CPU.

    Args:
        feature_maps: `[B, F, H, W]`.
        pooled: `[B, F]`, >= 0.
    """
    height, width = feature_maps.shape[-2:]
    share = pooled / pooled.sum(dim=1, keepdim=True).clamp(min=1e-12)  # [B, F]
    highest = spatial_softmax(feature_maps).amax(dim=-1)
    row, column = peak_positions(feature_maps).unbind(dim=-1)
    on_edge = (row == 0) | (row == height - 1) | (column == 0) | (column == width - 1)
    parts = torch.stack([share * highest, -share * on_edge]).cpu()  # the GPUs of Apple lack float64
    return parts.sum(dim=1, dtype=torch.float64)


def locality_statistics(feature_maps: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Locality and edge vectors of features, `([F], [F])` float64 (QPM, section 3.1).

    The first is a mean over images, the second a sum <= 0, as published. The published implementation weights the last,
    smaller batch with the wrong rows; here all images have the same weight.

    Args:
        feature_maps: `[N, F, H, W]`.
        pooled: `[N, F]`, >= 0.
    """
    locality, edge = locality_sums(torch.as_tensor(feature_maps), torch.as_tensor(pooled))
    return locality / len(feature_maps), edge


def overlap_sums(peaks: Tensor, pooled: Tensor) -> Tensor:
    """A batch's contribution to the co-occurrence of features in one place, `[F, F]` float64.

    Args:
        peaks: row and column of every map's maximum as fractions of the image, `[B, F, 2]`.
        pooled: `[B, F]`, >= 0.
    """
    together = torch.cdist(peaks, peaks, compute_mode="donot_use_mm_for_euclid_dist") <= ONE_PLACE
    return torch.einsum("bf,bg,bfg->fg", pooled, pooled, together.to(pooled.dtype)).double()


def place_redundancy(overlap: Tensor) -> Tensor:
    """Redundancy of feature pairs by what they see: 1 if one is active only where and when the other is, 0 if never.

    With two features of the same thing in the same place, an explanation loses one of its parts. Their profiles over
    the classes may differ, if one stands for a part of what the other stands for. Features that exclude each other,
    such as two looks of one part, are not redundant.

    Args:
        overlap: sums of `overlap_sums` over the images, `[F, F]`; its diagonal holds the squares of the features.

    Returns:
        `[F, F]` float64, strictly upper triangular, in [0, 1].
    """
    own = overlap.diagonal()
    smaller = torch.minimum(own[:, None], own[None]).clamp(min=1e-12)
    return (overlap / smaller).clamp(max=1).triu(diagonal=1)


def locality_bias(locality: Tensor, edge: Tensor) -> Tensor:
    """Bias `b` towards local features that do not look at the image's edge (QPM, section 3.1).

    Args:
        locality: `[F]`.
        edge: `[F]`, <= 0.

    Returns:
        `[F]` float64 with mean 0 and largest absolute value `0.1 * sqrt(10)` (0 everywhere if all features are alike).
    """
    scaled_locality = _tame_outliers(np.asarray(locality, dtype=np.float64))
    scaled_edge = _tame_outliers(np.asarray(edge, dtype=np.float64))
    combined = np.where(scaled_edge >= 0, scaled_locality, scaled_locality.min())
    return torch.from_numpy(_tame_outliers(combined))


def _tame_outliers(values: np.ndarray) -> np.ndarray:
    """Pull values into the range of their biggest cluster, then centre and scale them.

    Values outside the range take its bound with their own sign, as published: equal to clipping while the bound
    and the value have the same sign.
    """
    if np.ptp(values) == 0:
        return np.zeros_like(values)  # nothing to cluster
    clusters = mean_shift(values)
    biggest = values[clusters == np.bincount(clusters).argmax()]
    low, high = biggest.min(), biggest.max()
    values = np.where(values < low, abs(low) * np.sign(values), values)
    values = np.where(values > high, abs(high) * np.sign(values), values)
    if np.ptp(values) == 0:  # now all are equal, and their mean is equal only up to rounding
        return np.zeros_like(values)
    values = values - values.mean()
    return values / np.abs(values).max() * BIAS_SCALE
