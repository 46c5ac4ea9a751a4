"""Stage 2: from dense features to the selected features and the class-feature weights."""

import logging
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from architectures.classifier import InterpretableClassifier
from architectures.inference import FeatureTable, collect_feature_table
from architectures.sparse_head import SparseHead, SparseLayer
from configs import processes
from configs.open_run import OpenRun
from configs.run_files import POOLED_FILE, selection_file
from configs.settings import Settings
from sparsification.constants import (
    class_feature_correlation,
    feature_moments,
    feature_redundancy,
    locality_bias,
    place_redundancy,
)
from sparsification.features import DenseFeatures
from sparsification.glm import fit_qsenn, fit_sldd
from sparsification.parts import PartSearch, Scenes, collect_scenes
from sparsification.qpm import NoSelectionError, SelectionProblem, solve
from sparsification.qpm.problem import CORRELATION_SCALE
from sparsification.qpm.published_threshold import published_threshold

log = logging.getLogger(__name__)


def select_features(run: OpenRun, features: DenseFeatures, model: InterpretableClassifier) -> SparseLayer:
    """The sparse layer of a run: reused or solved; `model` is the dense one."""
    settings = run.settings
    artefact = run.folder.artefact(
        selection_file(settings), {"features": run.folder.digest(POOLED_FILE), **settings.selection_dependencies()}
    )
    parts = settings.selection.groups and settings.kind.class_sets and features.overlap is not None
    if parts and artefact.why_outdated() is not None:
        # All processes take part in this, while only the main one fills the file.
        scenes = collect_scenes(model, run.data.train_unaugmented, run.hardware, settings.parts)
        features = replace(features, scenes=scenes)
    return artefact.load_or_make(
        SparseLayer.load, lambda path: chooser(settings)(settings, features).save(path), what="Selection"
    )


def chooser(settings: Settings) -> Callable[[Settings, Any], SparseLayer]:
    """The function that chooses features for the model type: from pooled features and labels to the sparse layer."""
    return pkgutil.resolve_name(settings.kind.chooser)


def quadratic_program(settings: Settings, features: DenseFeatures) -> SparseLayer:
    """QPM and CHiQPM: features, and their sets for all classes, by the quadratic program."""
    if features.scenes is not None:
        layer = looks_of_parts(settings, features, features.scenes)
        if layer is not None:
            return layer
    program = program_of(settings, features)
    optimise = partial(
        solve,
        solver=settings.solver,
        time_limit=settings.selection_seconds,
        seed=settings.seed,
        certificate=settings.certificate,
    )
    try:
        found = optimise(SelectionProblem(**program, pairs=settings.pairs))
    except NoSelectionError as error:
        if settings.pairs == "any":
            raise
        log.warning("%s. Any pairs count instead.", error)
        found = optimise(SelectionProblem(**program, pairs="any"))
    return _sparse_layer(features, torch.as_tensor(found.selected), torch.as_tensor(found.weight))


def program_of(settings: Settings, features: DenseFeatures) -> dict[str, Any]:
    """The arguments of `SelectionProblem`, except which pairs of classes have to share features.

    If features are maxima of maps, two are redundant if they see the same thing in the same place.
    """
    correlation = class_feature_correlation(features.pooled, features.labels)
    threshold, redundancy_weight = settings.redundancy_threshold, 1.0
    if features.overlap is None:
        redundancy = feature_redundancy(correlation).numpy()
    else:
        redundancy = place_redundancy(features.overlap).numpy()
        redundancy_weight = CORRELATION_SCALE / settings.n_features  # what a feature is worth at most
        threshold = settings.parts.same_thing if threshold is None else threshold
    if threshold == "published":
        threshold = published_threshold(redundancy, settings.n_features)
    return {
        "correlation": correlation.numpy(),
        "redundancy": redundancy,
        "bias": locality_bias(features.locality, features.edge).numpy(),
        "n_features": settings.n_features,
        "n_per_class": settings.n_per_class,
        "rho": settings.selection.pair_density,
        "threshold": threshold,
        "redundancy_weight": redundancy_weight,
    }


def looks_of_parts(settings: Settings, features: DenseFeatures, scenes: Scenes) -> SparseLayer | None:
    """One feature for every look of every part; None unless parts have as many looks as the model has features."""
    n, k = settings.n_features, settings.n_per_class
    parts = PartSearch(scenes, settings.groups, settings.parts).find(k)
    found = sum(len(part.features) for part in parts)
    weight = torch.cat([part.one_hot() for part in parts], dim=1) if parts else torch.empty(0, 0)
    if len(parts) < k or found != n or len(weight.unique(dim=0)) < len(weight):
        log.info("Selection by the quadratic program: %d parts with %d looks were found.", len(parts), found)
        return None
    log.info("Selection by parts: %d were found, with %d looks in all. Every look gets one feature.", k, n)
    return _sparse_layer(features, torch.cat([part.features for part in parts]), weight)


def _sparse_layer(features: DenseFeatures, selection: Tensor, weight: Tensor) -> SparseLayer:
    mean, std = feature_moments(features.pooled)
    return SparseLayer(
        selection=selection.long(), weight=weight.float(), mean=mean[selection].float(), std=std[selection].float()
    )


def qsenn(settings: Settings, features: DenseFeatures | FeatureTable) -> SparseLayer:
    """Q-SENN: features by sparse linear paths, quantised weights."""
    return _sparse_linear_model(fit_qsenn, settings, features)


def sldd(settings: Settings, features: DenseFeatures | FeatureTable) -> SparseLayer:
    """SLDD-Model: features and weights by sparse linear paths."""
    return _sparse_linear_model(fit_sldd, settings, features)


def _sparse_linear_model(fit, settings: Settings, features) -> SparseLayer:
    return fit(
        features.pooled,
        features.labels,
        n_features=settings.n_features,
        n_per_class=settings.n_per_class,
        solver=settings.glm_solver,
    )


def refit(run: OpenRun, model: InterpretableClassifier) -> SparseLayer:
    """New weights for the selected features after finetuning has changed them (Q-SENN, before every round)."""
    table = collect_feature_table(
        model, run.data.train_unaugmented, run.hardware, "Features to refit", with_results=False
    )
    layer = processes.broadcast(lambda: chooser(run.settings)(run.settings, table))
    head = model.linear
    assert isinstance(head, SparseHead)
    return replace(layer, selection=head.selection.cpu()[layer.selection])
