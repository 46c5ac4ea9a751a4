"""Stage 2: from dense features to the selected features and the class-feature weights."""

import logging
from dataclasses import replace

import torch
from torch import Tensor

from architectures.classifier import InterpretableClassifier
from architectures.inference import collect_feature_table
from architectures.sparse_head import SparseLayer
from configs import processes
from configs.hardware import Hardware
from configs.run_folder import RunFolder
from configs.runs import selection_file
from configs.settings import Settings
from sparsification.constants import (
    class_feature_correlation,
    feature_moments,
    feature_redundancy,
    locality_bias,
)
from sparsification.features import POOLED_FILE, DenseFeatures
from sparsification.glm import fit_qsenn, fit_sldd
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
        "pairs",
        "certificate",
        "glm_solver",
    )
    artefact = run.artefact(
        selection_file(settings),
        {
            "features": run.digest(POOLED_FILE),
            **{key: getattr(settings, key) for key in keys},
            **vars(settings.head),
        },
    )
    if artefact.is_current():
        log.info("Selection: %s is reused.", artefact.path)
        return SparseLayer.load(artefact.path)
    choose = _quadratic_program if settings.head.binary else _sparse_linear_model
    artefact.write(lambda path: choose(settings, features).save(path))
    return SparseLayer.load(artefact.path)


def _quadratic_program(settings: Settings, features: DenseFeatures) -> SparseLayer:
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
        pairs=settings.pairs,
    )
    found = solve(
        problem,
        solver=settings.solver,
        time_limit=settings.selection_seconds,
        seed=settings.seed,
        certificate=settings.certificate,
    )
    selection = torch.as_tensor(found.selected)
    mean, std = feature_moments(features.pooled)
    return SparseLayer(
        selection=selection.long(),
        weight=torch.as_tensor(found.weight).float(),
        mean=mean[selection].float(),
        std=std[selection].float(),
    )


def _sparse_linear_model(settings: Settings, features: DenseFeatures) -> SparseLayer:
    """Q-SENN and SLDD-Model: features and weights by sparse linear paths."""
    return _fit(settings, features.pooled, features.labels)


def _fit(settings: Settings, pooled: Tensor, labels: Tensor) -> SparseLayer:
    fit = {"qsenn": fit_qsenn, "sldd": fit_sldd}[settings.model_type]
    return fit(
        pooled,
        labels,
        n_features=settings.n_features,
        n_per_class=settings.n_per_class,
        solver=settings.glm_solver,
    )


def refit(
    settings: Settings, model: InterpretableClassifier, data, hardware: Hardware
) -> SparseLayer:
    """New weights for the selected features as the finetuning has changed them (Q-SENN, before every round)."""
    table = collect_feature_table(
        model, data.train_plain, hardware, "Features to refit", with_results=False
    )
    layer = processes.agreed(lambda: _fit(settings, table.pooled, table.labels))
    return replace(layer, selection=model.linear.selection.cpu()[layer.selection])
