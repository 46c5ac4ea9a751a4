"""The sparse layers of Q-SENN and SLDD-Model from dense features, start to end."""

import logging

import torch

from architectures.sparse_head import SparseLayer
from sparsification.glm.path import choose_features, regularisation_path, standardisation
from sparsification.glm.sparsify import quantise_qsenn, sparsify_sldd

log = logging.getLogger(__name__)


def fit_qsenn(
    features, labels, *, n_features: int, n_per_class: int, solver: str = "newton"
) -> SparseLayer:
    """Q-SENN's layer: the end of the path, quantised to {-a, 0, a} (arXiv 2312.13839, section 3).

    To refit between the rounds of finetuning, pass the `n_features` features of the sparse model:
    then all are kept.

    Args:
        features: pooled features `[N, F]` under the test transform, not standardised.
        labels: `[N]` integers, every class 0..C-1 present.
        n_features: features to choose.
        n_per_class: average number of features of a class.
        solver: `newton` or `glm_saga`.

    Raises:
        ValueError, RunError, UsageError: as `choose_features`.
    """
    return _fit(features, labels, quantise_qsenn, n_features, n_per_class, solver)


def fit_sldd(
    features, labels, *, n_features: int, n_per_class: int, solver: str = "newton"
) -> SparseLayer:
    """SLDD-Model's layer: a sparse path member, cut to its largest weights (arXiv 2303.13166).

    Arguments and errors are those of `fit_qsenn`.
    """
    return _fit(features, labels, sparsify_sldd, n_features, n_per_class, solver)


def _fit(features, labels, sparsify, n_features, n_per_class, solver) -> SparseLayer:
    features = torch.as_tensor(features).detach()
    if features.shape[1] == n_features:
        selected = torch.arange(n_features, device=features.device)
    else:
        selected = choose_features(features, labels, n_features, solver).sort().values
    features = features[:, selected]
    path = regularisation_path(features, labels, solver)
    result = sparsify(path.weights, path.biases, n_per_class)
    found, wanted = (result.weight != 0).sum().item(), n_per_class * len(result.weight)
    if found < wanted:
        log.warning("the path offers only %d non-zero weights of the wanted %d", found, wanted)
    mean, std = standardisation(features)
    dtype = features.dtype if features.is_floating_point() else torch.float32
    weight, bias, mean, std = (x.to(dtype) for x in (result.weight, result.bias, mean, std))
    return SparseLayer(selection=selected, weight=weight, mean=mean, std=std, bias=bias)
