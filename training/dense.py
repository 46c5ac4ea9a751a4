"""Stage 1: the dense model (cross entropy + feature diversity loss)."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from architectures.backbones.weights import check_fitting
from architectures.checkpoints import load_state_dict
from architectures.classifier import InterpretableClassifier, ModelOutput, build_dense_model
from architectures.inference import features_and_peaks
from configs.open_run import OpenRun
from configs.recipes import DenseRecipe, GroupsRecipe
from configs.run_files import DENSE_MODEL_FILE
from configs.run_folder import Artefact
from training.batches import seed_everything
from training.checkpoint import checkpoint_of
from training.left_over_looks import LeftOverLooks
from training.loop import Phase, build_optimizer, train_artefact
from training.losses import confusable_images_loss, feature_diversity_loss, hidden_rectangle_loss, mixed_images_loss
from training.monitor import Monitor
from training.places import learn_places
from training.plan import DENSE, coarse_epochs, trains_reduced
from training.schedules import dense_learning_rate

log = logging.getLogger(__name__)


def check_weights(run: OpenRun, *, download: bool = True) -> None:
    """Raise what loading the initial weights would; without `download`, weights to fetch only need a live server."""
    settings = run.settings
    artefact = _artefact(run)
    if settings.weights == "none" or (settings.do_dense and artefact.why_outdated() is None):
        return
    with torch.device("meta"):
        model = build_dense_model(settings.arch, len(run.data.train.classes))
    check_fitting(model, settings.arch, settings.weights, download=download)


def train_dense(run: OpenRun) -> InterpretableClassifier:
    """The trained dense model of a run: reused, resumed, or trained.

    With `--do_dense False` it is the backbone with its initial weights, and an untrained final layer.

    Raises:
        RunError, UsageError: as `build_dense_model` and `train_phases`.
    """
    settings, hardware = run.settings, run.hardware
    artefact = _artefact(run)
    if settings.do_dense and artefact.is_current():
        log.info("Dense model: %s is reused.", artefact.path)
        checkpoint_of(artefact).remove()
        return load_dense_model(run)
    seed_everything(settings.seed, "dense weights")
    model = hardware.place(untrained_model(run, settings.weights))
    learn_places(run, model.backbone)
    if not settings.do_dense:
        log.info("Dense model: not trained (--do_dense False), weights %s.", settings.weights)
        return model
    phases = dense_phases(
        model,
        settings.dense,
        settings.groups,
        trains_reduced(settings),
        partial(features_and_peaks, model, run.data.train_unaugmented, hardware),
    )
    train_artefact(run, artefact, model, phases, Monitor(run, DENSE))
    model.backbone.reduce_strides(settings.reduced_strides)
    return model


def load_dense_model(run: OpenRun) -> InterpretableClassifier:
    """The dense model that a run saved, on its device; errors as in `load_state_dict`."""
    model = untrained_model(run, "none")
    model.load_state_dict(load_state_dict(run.folder.file(DENSE_MODEL_FILE)))
    return run.hardware.place(model)


def untrained_model(run: OpenRun, weights: str) -> InterpretableClassifier:
    """The dense model of a run with some initial weights, see `load_weights`."""
    settings = run.settings
    return build_dense_model(
        settings.arch,
        len(run.data.train.classes),
        weights,
        settings.reduced_strides,
        settings.dense.dropout,
        settings.freeze_backbone,
    )


def _artefact(run: OpenRun) -> Artefact:
    depends_on = {**run.settings.dense_dependencies(), "images": run.data.train.fingerprint()}
    return run.folder.artefact(DENSE_MODEL_FILE, depends_on)


FeaturesAndPeaks = Callable[[], tuple[Tensor, Tensor, Tensor]]


def dense_phases(
    model: InterpretableClassifier,
    recipe: DenseRecipe,
    groups: GroupsRecipe,
    reduced_strides: bool,
    measure: FeaturesAndPeaks | None = None,
) -> list[Callable[[bool], Phase]]:
    """The phases of the dense training: coarse feature maps first if the recipe says so, then the final ones.

    Args:
        groups: how left-over looks are found.
        reduced_strides: of the final feature maps.
        measure: returns features `[N, F]`, labels `[N]` and peaks `[N, F, 2]` of the training images, by the model in
            its present state; None: left-over looks are not sought.
    """
    looks = None
    if measure is not None and recipe.left_over_rounds and model.backbone.pooling == "max":
        looks = LeftOverLooks(len(model.class_weight), groups)

    def make(first: int, last: int, reduced: bool, begins: bool) -> Phase:
        model.backbone.reduce_strides(reduced)
        phase = dense_phase(model, recipe, first, last, looks)
        if looks is None:
            return phase

        def renew_looks(epoch: int) -> None:
            if first + epoch in left_over_epochs(recipe):
                looks.renew(*measure())

        return replace(phase, before_epoch=renew_looks, state=looks.state)

    n_coarse = coarse_epochs(recipe, reduced_strides)
    if not n_coarse:
        return [partial(make, 0, recipe.epochs, reduced_strides)]
    return [partial(make, 0, n_coarse, False), partial(make, n_coarse, recipe.epochs, True)]


def left_over_epochs(recipe: DenseRecipe) -> set[int]:
    """The epochs before which left-over looks are sought, spread over the last two thirds of the training."""
    rounds = recipe.left_over_rounds
    return {round(recipe.epochs * (1 + 2 * index / rounds) / 3) for index in range(rounds)}


def dense_phase(
    model: InterpretableClassifier,
    recipe: DenseRecipe,
    first: int = 0,
    last: int | None = None,
    looks: LeftOverLooks | None = None,
) -> Phase:
    """Epochs `first` to `last` (exclusive; None: all) of the dense training.

    The classifier may have another learning rate than the backbone.
    """
    last = recipe.epochs if last is None else last
    optimizer = build_optimizer([{"params": part.parameters()} for part in (model.backbone, model.linear)], recipe)

    def extra_losses(output: ModelOutput, targets: Tensor, epoch: int) -> dict[str, Tensor]:
        maps, pooled, classifier = output.feature_maps, output.features, model.linear
        diversity = feature_diversity_loss(maps, output.logits, model.class_weight, recipe.diversity_weight)
        losses = {"diversity": diversity}
        if recipe.mixed_images > 1 and model.backbone.pooling == "max":
            losses |= {
                "mixed": mixed_images_loss(pooled, targets, classifier, recipe.mixed_images),
                "confusable": confusable_images_loss(pooled, targets, output.logits, classifier),
                "hidden": hidden_rectangle_loss(maps, targets, classifier, recipe.label_smoothing),
            }
        if looks is not None:
            losses["left_over"] = looks.loss(maps, targets)
        return losses

    return Phase(
        name="Dense" if last == recipe.epochs else "Dense, coarse maps",
        epochs=last - first,
        batch_size=recipe.batch_size,
        optimizer=optimizer,
        learning_rates=lambda epoch: [
            dense_learning_rate(recipe, base, first + epoch) for base in (recipe.lr, recipe.classifier_lr)
        ],
        extra_losses=extra_losses,
        label_smoothing=recipe.label_smoothing,
        views=recipe.views,
    )
