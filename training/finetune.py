"""Stage 3: finetuning of the sparse model; the features adapt to the classes they are assigned to."""

import logging
from functools import partial

import torch

from architectures.backbones.base import Backbone
from architectures.checkpoints import load_state_dict
from architectures.classifier import InterpretableClassifier
from architectures.sparse_head import MIN_STD, SparseHead, SparseLayer, build_head
from configs.open_run import OpenRun
from configs.recipes import FinetuneRecipe
from configs.run_files import selection_file, sparse_model_file
from configs.settings import Settings
from sparsification.select import refit
from training.checkpoint import checkpoint_of
from training.loop import Phase, build_optimizer, train_artefact
from training.losses import feature_diversity_loss, feature_grounding_loss, presence_loss
from training.monitor import Monitor
from training.plan import ends_reduced, round_is_reduced, trains_reduced
from training.schedules import finetune_learning_rate, grounding_weight

log = logging.getLogger(__name__)


def finetune(run: OpenRun, dense_model: InterpretableClassifier, layer: SparseLayer) -> InterpretableClassifier:
    """The finetuned sparse model of a run: reused, resumed, or trained from the dense model (in place).

    Raises:
        RunError, UsageError: as `train_phases`.
    """
    model, settings = dense_model, run.settings
    recipe = settings.finetuning
    _set_head(model, layer, settings)
    artefact = run.folder.artefact(
        sparse_model_file(settings),
        {
            **settings.sparse_dependencies(),
            "images": run.data.train.fingerprint(),
            "selection": run.folder.digest(selection_file(settings)),
        },
    )
    if artefact.is_current():
        log.info("Sparse model: %s is reused.", artefact.path)
        checkpoint_of(artefact).remove()
        model.load_state_dict(load_state_dict(artefact.path))
        return model

    if recipe.last_stage:
        if model.backbone.train_last_stage():
            run.frozen_maps.clear()  # dense training stored maps of other layers
        else:
            log.info("%s has no last stage that can be trained alone.", settings.arch)
    rounds = [partial(_begin_round, run, model, index) for index in range(len(recipe.round_epochs))]
    train_artefact(run, artefact, model, rounds, Monitor(run, settings.model_name))
    run.frozen_maps.clear()
    model.backbone.reduce_strides(settings.reduced_strides)
    if ends_reduced(settings) and not trains_reduced(settings):
        log.info("From here on, maps have smaller cells (--reduced_strides), so accuracies differ from those above.")
    return model


def _begin_round(run: OpenRun, model: InterpretableClassifier, index: int, begins: bool) -> Phase:
    """Prepare the model for a round, `index` from 0, which begins or is resumed."""
    settings, recipe = run.settings, run.settings.finetuning
    if recipe.refit and begins and index > 0:
        _set_head(model, refit(run, model), settings)
    reduced = round_is_reduced(settings, index)
    model.backbone.reduce_strides(reduced)
    if index and reduced != round_is_reduced(settings, index - 1):
        run.frozen_maps.clear()
    return finetune_phase(model, recipe, index, recipe.presence and settings.kind.class_sets)


def _set_head(model: InterpretableClassifier, layer: SparseLayer, settings: Settings) -> None:
    head = build_head(layer, settings.head)
    if settings.freeze_backbone:
        equalise_spread(model.backbone, head)
    model.set_sparse_head(head, settings.finetuning.dropout)


@torch.no_grad()
def equalise_spread(backbone: Backbone, head: SparseHead) -> None:
    """Scale the selected features behind a frozen network to the median standard deviation; no logit changes.

    The effect of a gradient step on a normalised feature grows with 1 / std^2, so a rate that suits most features makes
    those with a small spread diverge. The trained part ends in a 1 x 1 convolution, whose rows can be scaled in place.
    """
    factors = head.std.median() / head.std.clamp(min=MIN_STD)
    backbone.scale_maps(head.selection, factors)
    head.mean *= factors
    head.std *= factors


def finetune_phase(model: InterpretableClassifier, recipe: FinetuneRecipe, index: int, presence: bool = False) -> Phase:
    """One finetuning round, `index` from 0: fresh momentum, a smaller rate than in the round before.

    With `presence`, features in [0, 1] are also trained to be present in the images of their classes and in no others.
    """
    optimizer = build_optimizer([p for p in model.parameters() if p.requires_grad], recipe)

    head = model.linear
    if isinstance(head, SparseHead) and recipe.normalisation_in_own_units:
        train_normalisation_in_own_units(head)

    def extra_losses(output, targets, epoch):
        weight = model.class_weight
        diversity = feature_diversity_loss(output.feature_maps, output.logits, weight, recipe.diversity_weight)
        losses = {"diversity": diversity}
        if factor := grounding_weight(recipe, epoch):
            losses["grounding"] = factor * feature_grounding_loss(output.features, targets, weight)
        if presence:
            pooled = model.backbone.pool(output.feature_maps)
            losses["presence"] = presence_loss(pooled, targets, weight > 0)
        return losses

    rounds = len(recipe.round_epochs)
    return Phase(
        name=f"Finetuning round {index + 1}/{rounds}" if rounds > 1 else "Finetuning",
        epochs=recipe.round_epochs[index],
        batch_size=recipe.batch_size,
        optimizer=optimizer,
        learning_rates=lambda epoch: [finetune_learning_rate(recipe, index, epoch)],
        extra_losses=extra_losses,
        label_smoothing=recipe.label_smoothing,
        views=recipe.views,
    )


def train_normalisation_in_own_units(head: SparseHead) -> None:
    """Let mean and std of a head be trained in units of the std.

    Their plain gradients, which the published code uses, grow with 1 / std and 1 / std^2, so that features with a small
    spread diverge at the published rates.
    """
    for parameter in (head.mean, head.std):
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: gradient * head.std.detach() ** 2)
