"""The constants A and R of the quadratic program, and the clusters that b needs, against their textbook computation."""

from contextlib import contextmanager

import numpy as np
import torch
from sklearn.cluster import MeanShift

from sparsification.constants import (
    class_feature_correlation,
    feature_redundancy,
)
from sparsification.mean_shift import mean_shift


@contextmanager
def correlations(images: int, features: int, classes: int):
    """A and R of random pooled features."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(images) % classes
    pooled = torch.rand(images, features, generator=generator)
    pooled += torch.rand(classes, features, generator=generator)[labels]
    yield lambda: ours(pooled, labels), lambda: textbook(pooled.numpy(), labels.numpy())


def ours(pooled: torch.Tensor, labels: torch.Tensor):
    """A `[F, C]` and R `[F, F]` from the sums of every class."""
    correlation = class_feature_correlation(pooled, labels)
    return correlation, feature_redundancy(correlation)


def textbook(pooled: np.ndarray, labels: np.ndarray):
    """The same from numpy's correlation matrix of all features and one 0/1 column for every class."""
    n_features = pooled.shape[1]
    members = np.eye(labels.max() + 1)[labels]  # (N, C)
    correlation = np.corrcoef(pooled, members, rowvar=False)[:n_features, n_features:]
    correlation /= np.abs(correlation).max()
    unit = correlation / np.linalg.norm(correlation, axis=1, keepdims=True)
    cosine = unit @ unit.T
    return correlation, np.triu(cosine / np.abs(cosine).max(), 1).clip(min=0)


@contextmanager
def clusters(features: int):
    """The clusters of numbers that b is made from; one of its three calls."""
    values = np.random.default_rng(0).exponential(size=features)
    yield lambda: mean_shift(values), lambda: MeanShift().fit_predict(values[:, None])
