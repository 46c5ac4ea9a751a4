"""Stage 1: the dense model (cross entropy + feature diversity loss)."""

import logging

import torch

from architectures.checkpoints import load_state_dict
from architectures.resnet import InterpretableResNet, build_dense_model
from configs.hardware import Hardware
from configs.recipes import DIVERSITY_WEIGHT, DenseRecipe
from configs.run_folder import RunFolder
from configs.runs import dense_model_file
from configs.settings import Settings
from training.loop import Phase, checkpoint_of, seed_everything, train_artefact
from training.losses import feature_diversity_loss
from training.schedules import dense_learning_rate

log = logging.getLogger(__name__)


def train_dense(
    settings: Settings, run: RunFolder, data, hardware: Hardware
) -> InterpretableResNet:
    """The trained dense model of a run: reused, gone on with, or trained.

    With `--do_dense False` it is the backbone on its given weights, with an untrained final layer.
    """
    n_classes = len(data.train.classes)
    artefact = run.artefact(dense_model_file(), dense_dependencies(settings, data))
    if settings.do_dense and artefact.is_current():
        log.info("Dense model: %s is reused.", artefact.path)
        checkpoint_of(artefact).remove()
        model = build_dense_model(settings.arch, n_classes, "none", settings.reduced_strides)
        model.load_state_dict(load_state_dict(artefact.path))
        return hardware.place(model)
    seed_everything(settings.seed, "dense weights")
    model = build_dense_model(settings.arch, n_classes, settings.weights, settings.reduced_strides)
    model = hardware.place(model)
    if not settings.do_dense:
        log.info("Dense model: not trained (--do_dense False), weights %s.", settings.weights)
        return model
    train_artefact(
        artefact,
        model,
        [lambda begins: dense_phase(model, settings.dense)],
        data.train,
        hardware,
        seed=settings.seed,
    )
    return model


def dense_dependencies(settings: Settings, data) -> dict:
    """What the dense model depends on."""
    return {
        **settings.backbone_dependencies(),
        "dense": vars(settings.dense) if settings.do_dense else None,
        "images": data.train.fingerprint(),
    }


def dense_phase(model: InterpretableResNet, recipe: DenseRecipe) -> Phase:
    """The one phase of the dense training: the classifier learns faster than the backbone."""
    head = list(model.linear.parameters())
    backbone = [p for name, p in model.named_parameters() if not name.startswith("linear.")]
    optimizer = torch.optim.SGD(
        [{"params": backbone}, {"params": head}],
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    return Phase(
        name="Dense",
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        optimizer=optimizer,
        learning_rates=lambda epoch: [
            dense_learning_rate(recipe, base, epoch) for base in (recipe.lr, recipe.classifier_lr)
        ],
        extra_loss=lambda output, targets, epoch: feature_diversity_loss(
            output.feature_maps, output.logits, model.class_weight, DIVERSITY_WEIGHT
        ),
        label_smoothing=recipe.label_smoothing,
    )
