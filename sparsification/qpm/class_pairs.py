"""Pairs of classes that are similar or share features (CHiQPM, arXiv 2511.20779)."""

import numpy as np
from scipy.spatial.distance import pdist


def to_float64(values) -> np.ndarray:
    """The values as a float64 array, from a torch tensor on any device or any array-like."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def most_similar_pairs(correlation: np.ndarray, count: int) -> np.ndarray:
    """The `count` pairs of classes with the nearest columns of A, nearest first.

    Args:
        correlation: class-feature correlation A, `[F, C]`.
        count: how many pairs; all of them if there are fewer.

    Returns:
        `[count, 2]` class indices, the larger index of a pair first (the published order).
    """
    correlation = to_float64(correlation)
    smaller, larger = np.triu_indices(correlation.shape[1], 1)  # the order of pdist
    nearest = np.argsort(pdist(correlation.T), kind="stable")[:count]
    return np.stack([larger[nearest], smaller[nearest]], axis=1)


def sharing_pairs(weight: np.ndarray, min_shared: int) -> np.ndarray:
    """All pairs of classes that share at least `min_shared` features, `[m, 2]`.

    The smaller index comes first, pairs in lexicographic order.

    Args:
        weight: 0/1 features of every class, `[C, n]`.
        min_shared: least number of shared features.
    """
    weight = to_float64(weight)
    return np.argwhere(np.triu(weight @ weight.T >= min_shared, 1))
