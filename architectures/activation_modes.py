"""The two modes of every feature's activations: present or absent.

CHiQPM (arXiv 2511.20779) calls a feature contrastive when the two hardly overlap, and scales heatmaps by the mean of
the upper one.
"""

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

# The stopping rule and the floor of the variances of scikit-learn's GaussianMixture.
TOLERANCE = 1e-3
MAX_ITERATIONS = 100
VARIANCE_FLOOR = 1e-6
# Features are fitted in blocks of about this many values, which bounds memory.
VALUES_PER_BLOCK = 2**24


@dataclass(frozen=True)
class ActivationModes:
    """Two-component Gaussian mixture of every feature; lower component first."""

    means: Tensor  # [n_features, 2], in the unit of the features, ascending
    deviations: Tensor  # standard deviations, [n_features, 2]

    @property
    def active_mean(self) -> Tensor:
        """Mean of the upper mode: how strong a feature is where it is present, `[n_features]`."""
        return self.means[:, 1]

    def overlap(self) -> Tensor:
        """Overlapping coefficient of the two modes, `[n_features]`, 0 (apart) to 1 (the same)."""
        pairs = zip(self.means.tolist(), self.deviations.tolist(), strict=True)
        return torch.tensor(
            [NormalDist(m[0], s[0]).overlap(NormalDist(m[1], s[1])) for m, s in pairs], dtype=torch.float64
        )


def _best_split(features: Tensor) -> Tensor:
    """Membership (0/1) in the upper of two groups of least squared deviation, `[N, F]`.

    In one dimension the optimum is a cut of the sorted values, so all cuts are compared.
    """
    ordered, order = features.sort(dim=0)
    N = len(ordered)
    below = torch.arange(1, N, dtype=features.dtype, device=features.device)[:, None]  # (N-1, 1)
    sums = ordered.cumsum(dim=0)
    between = sums[:-1].square() / below + (sums[-1] - sums[:-1]).square() / (N - below)
    cut = between.argmax(dim=0, keepdim=True)
    # By rank, so that equal values fall into both groups when all values are equal.
    return (order.argsort(dim=0) > cut).to(features.dtype)


def activation_modes(features: Tensor) -> ActivationModes:
    """Gaussian mixture of two modes for every feature, by expectation maximisation from 2-means.

    Features are fitted side by side; each stops when its mean log likelihood gains less than `TOLERANCE`.

    Args:
        features: pooled features, `[N, n_features]`, N at least 2.

    Raises:
        ValueError: if there are fewer than 2 samples.
    """
    features = torch.as_tensor(features).detach()
    if len(features) < 2:
        raise ValueError(f"two modes need at least 2 samples, found {len(features)}")
    width = max(1, VALUES_PER_BLOCK // len(features))
    blocks = [_fit(block.double()) for block in features.split(width, dim=1)]
    means, deviations = (torch.cat(parameter) for parameter in zip(*blocks, strict=True))
    return ActivationModes(means, deviations)


def _fit(features: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of both modes, `[F, 2]`, lower mode first."""
    upper = _best_split(features)
    responsibility = torch.stack([1 - upper, upper])  # (2, N, F)
    means, variances, weights = _maximise(features, responsibility)
    previous = torch.full_like(means[0], -torch.inf)
    running = torch.ones_like(means[0], dtype=torch.bool)
    for _ in range(MAX_ITERATIONS):
        active = features[:, running]
        joint = _log_joint(active, means[:, running], variances[:, running], weights[:, running])
        evidence = joint.logsumexp(dim=0)
        fitted = _maximise(active, (joint - evidence).exp())
        for parameter, update in zip((means, variances, weights), fitted, strict=True):
            parameter[:, running] = update
        likelihood = evidence.mean(dim=0)
        gain = likelihood - previous[running]
        previous[running] = likelihood
        running[running.clone()] = gain >= TOLERANCE
        if not running.any():
            break
    means, order = means.T.sort(dim=1)
    return means, variances.T.gather(1, order).sqrt()


def _log_joint(features: Tensor, means: Tensor, variances: Tensor, weights: Tensor) -> Tensor:
    """Log of weight times density of both components, `[2, N, F]`."""
    deviation = features - means[:, None]
    return (
        weights.log()[:, None]
        - 0.5 * (deviation.square() / variances[:, None])
        - 0.5 * (2 * torch.pi * variances).log()[:, None]
    )


def _maximise(features: Tensor, responsibility: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means, variances and weights of the components, each `[2, F]`."""
    mass = responsibility.sum(dim=1) + 10 * torch.finfo(features.dtype).eps
    means = (responsibility * features).sum(dim=1) / mass
    deviation = features - means[:, None]
    variances = (responsibility * deviation.square()).sum(dim=1) / mass + VARIANCE_FLOOR
    return means, variances, mass / mass.sum(dim=0)
