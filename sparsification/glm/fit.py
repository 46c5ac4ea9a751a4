"""The sparse layers of Q-SENN and SLDD-Model from dense features, from start to end.

Two steps are not in the papers. Their solver stops long before the optimum, which keeps many small weights and moderate
biases. At the optimum of separable training data (dense models usually classify all their training images correctly)
few weights remain and the biases grow without bound. So the share of the sparsifying term is lowered until the path
offers enough weights, and Q-SENN quantises the member whose quantised layer classifies the training data best, not
always the last.
"""

import logging

import torch

from architectures.sparse_head import SparseLayer
from sparsification.glm.datafit import CrossEntropy
from sparsification.glm.path import PATH_ALPHA, Path, choose_features, linear_problem, regularisation_path
from sparsification.glm.sparsify import quantise_qsenn, sparsify_sldd

log = logging.getLogger(__name__)

ALPHAS = (PATH_ALPHA, 0.9, 0.5, 0.1)  # the published share, then ones with ever denser paths


def fit_qsenn(features, labels, *, n_features: int, n_per_class: int, solver: str = "newton") -> SparseLayer:
    """Q-SENN's layer: a path member, quantised to {-a, 0, a} (arXiv 2312.13839, section 3).

    To refit between the rounds of finetuning, pass the `n_features` features of the sparse model; all are kept then.

    Args:
        features: pooled features `[N, F]` under the test transform, not standardised; may be mapped from a file.
        labels: `[N]` integers, every class 0..C-1 present.
        n_per_class: average number of features of a class.
        solver: `newton` or `glm_saga`.

    Raises:
        ValueError, RunError, UsageError: as `choose_features`.
    """
    return _fit(features, labels, _best_quantised, n_features, n_per_class, solver)


def fit_sldd(features, labels, *, n_features: int, n_per_class: int, solver: str = "newton") -> SparseLayer:
    """SLDD-Model's layer: a sparse path member, reduced to its largest weights (arXiv 2303.13166).

    Arguments and errors are those of `fit_qsenn`.
    """
    return _fit(features, labels, _cut, n_features, n_per_class, solver)


def _fit(features, labels, sparsify, n_features, n_per_class, solver) -> SparseLayer:
    features = torch.as_tensor(features).detach()
    labels = torch.as_tensor(labels).to(features.device).long()
    if features.shape[1] == n_features:
        selected = torch.arange(n_features, device=features.device)
    else:
        selected = choose_features(features, labels, n_features, solver).sort().values
    features = features[:, selected]  # the first and only copy of features
    datafit = linear_problem(features, labels)
    for alpha in ALPHAS:
        path = regularisation_path(features, labels, solver, alpha=alpha)
        weight, bias = sparsify(path, datafit, n_per_class)
        found, wanted = weight.count_nonzero().item(), n_per_class * len(weight)
        if found == wanted:
            break
        log.info("Selection: alpha %g gives %d of the %d weights wanted; smaller ones give more.", alpha, found, wanted)
    else:
        log.warning("Selection: even the densest path has only %d of the %d weights wanted.", found, wanted)
    dtype = features.dtype if features.is_floating_point() else torch.float32
    weight, bias, mean, std = (x.to(dtype) for x in (weight, bias, *datafit.scale))
    return SparseLayer(selection=selected, weight=weight, mean=mean, std=std, bias=bias)


def _cut(path: Path, datafit: CrossEntropy, n_per_class: int):
    """SLDD-Model's weights and biases."""
    return sparsify_sldd(path.weights, path.biases, n_per_class)[1:]


def _best_quantised(path: Path, datafit: CrossEntropy, n_per_class: int):
    """Q-SENN's weights and biases of the member that, quantised, classifies best."""
    layers = [
        quantise_qsenn(weight, bias, n_per_class)
        for weight, bias in zip(path.weights, path.biases, strict=True)
        if weight.count_nonzero() >= n_per_class * len(weight)
    ] or [quantise_qsenn(path.weights, path.biases, n_per_class)]

    def n_correct(layer) -> int:
        return datafit.n_correct(torch.cat([layer.weight, layer.bias[:, None]], 1))

    return max(layers, key=n_correct)
