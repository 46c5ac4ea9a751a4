"""Stage 2: from dense features to the selected features and the class-feature weights."""

import logging

import torch
from torch import Tensor

from architectures.sparse_head import SparseLayer
from configs.run_folder import RunFolder
from configs.runs import selection_file
from configs.settings import Settings
from sparsification.constants import (
    class_feature_correlation,
    feature_redundancy,
    locality_bias,
)
from sparsification.features import FEATURES_FILE, DenseFeatures
from sparsification.qpm import SelectionProblem, solve

log = logging.getLogger(__name__)


def select_features(settings: Settings, run: RunFolder, features: DenseFeatures) -> SparseLayer:
    """The sparse layer of a run: reused or solved."""
    keys = (
        "model_type",
        "n_features",
        "n_per_class",
        "solver",
        "selection_seconds",
        "redundancy_threshold",
    )
    artefact = run.artefact(
        selection_file(settings),
        {
            "features": run.digest(FEATURES_FILE),
            **{key: getattr(settings, key) for key in keys},
            **vars(settings.head),
        },
    )
    if artefact.is_current():
        log.info("Selection: %s is reused.", artefact.path)
        return SparseLayer.load(artefact.path)
    layer = _solve_quadratic_program(settings, features)
    artefact.write(layer.save)
    return layer


def _solve_quadratic_program(settings: Settings, features: DenseFeatures) -> SparseLayer:
    """QPM and CHiQPM: features and classes' sets by the quadratic program."""
    correlation = class_feature_correlation(features.pooled, features.labels)
    problem = SelectionProblem(
        correlation.numpy(),
        feature_redundancy(correlation).numpy(),
        locality_bias(features.locality, features.edge).numpy(),
        n_features=settings.n_features,
        n_per_class=settings.n_per_class,
        rho=settings.head.pair_density,
        threshold=settings.redundancy_threshold,
    )
    found = solve(
        problem, solver=settings.solver, time_limit=settings.selection_seconds, seed=settings.seed
    )
    log.info(
        "Selection: objective %.2f, upper bound %.2f, %s in %.1f s",
        found.objective, found.upper_bound, found.solver, found.seconds,
    )  # fmt: skip
    return sparse_layer(
        features.pooled, torch.as_tensor(found.selected), torch.as_tensor(found.weight)
    )


def sparse_layer(pooled: Tensor, selection: Tensor, weight: Tensor, bias=None) -> SparseLayer:
    """The layer with the selected features' mean and standard deviation on the training images."""
    selected = pooled[:, selection].double()
    return SparseLayer(
        selection=selection.long(),
        weight=weight.float(),
        mean=selected.mean(dim=0).float(),
        std=selected.std(dim=0, correction=0).float(),
        bias=bias,
    )
