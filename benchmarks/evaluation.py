"""Metrics: all of them at once, and contrastiveness against scikit-learn's mixtures."""

from contextlib import contextmanager
from statistics import NormalDist

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from evaluation import metrics

FEATURES, PER_CLASS = 50, 5


@contextmanager
def all_at_once(images: int, classes: int):
    """All metrics that need no images; there is nothing to compare the whole of them with."""
    table = random_table(images, classes)
    yield lambda: all_metrics(*table), None


@contextmanager
def modes(images: int, features: int):
    """Contrastiveness of pooled features: two Gaussians for every feature, all features side by side."""
    generator = torch.Generator().manual_seed(0)
    present = torch.rand(images, features, generator=generator) < 0.3
    pooled = (torch.randn(images, features, generator=generator) + 3 * present).relu()
    yield lambda: metrics.contrastiveness(pooled), lambda: one_mixture_after_another(pooled)


def one_mixture_after_another(pooled: torch.Tensor) -> float:
    """Contrastiveness from scikit-learn's mixtures."""
    overlaps = []
    for column in pooled.double().numpy().T:
        mixture = GaussianMixture(2, random_state=0).fit(column[:, None])
        centres, variances = mixture.means_.ravel(), mixture.covariances_.ravel()
        lower, upper = map(NormalDist, centres, np.sqrt(variances))
        overlaps.append(lower.overlap(upper))
    return 1 - float(np.mean(overlaps))


def random_table(n_images: int, n_classes: int):
    """Binary weights, and features, logits and labels of a classifier that is often right."""
    generator = np.random.default_rng(0)
    chosen = generator.random((n_classes, FEATURES)).argsort(axis=1)[:, :PER_CLASS]
    weight = torch.zeros(n_classes, FEATURES).scatter_(1, torch.from_numpy(chosen), 1)
    torch.manual_seed(0)
    labels = torch.randint(n_classes, (n_images,))
    features = (2 * weight[labels] + torch.randn(n_images, FEATURES) - 0.5).relu()
    return weight, features, features @ weight.T, labels


def all_metrics(weight, features, logits, labels):
    """Every metric that needs no images."""
    n_classes = len(weight)
    similarity = torch.rand(n_classes, n_classes)
    sets = logits > logits.median()
    metrics.class_independence(features, labels, n_classes)
    metrics.feature_correlation(features)
    metrics.contrastiveness(features)
    metrics.structural_grounding(weight, similarity)
    metrics.dependence(features, logits, weight)
    metrics.set_coherence(sets, similarity)
