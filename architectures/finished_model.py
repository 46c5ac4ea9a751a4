"""The sparse model of a finished run, ours or a published one, from its state dict alone."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from architectures.checkpoints import load_state_dict, misfits
from architectures.classifier import InterpretableClassifier, build_dense_model
from architectures.sparse_head import SparseHead, SparseLayer, build_head
from configs.errors import RunError
from configs.hardware import Hardware
from configs.model_card import ModelCard
from configs.run_files import sparse_model_file
from configs.run_folder import RunFolder
from configs.settings import Settings


def load_finished_model(
    settings: Settings, run: RunFolder, classes: Sequence[str], hardware: Hardware
) -> InterpretableClassifier:
    """The finetuned sparse model of a run, on the hardware's device and in evaluation mode.

    Args:
        settings: the run's; architecture, strides and model type must be those of training.
        classes: names of the dataset's classes, to be as many as the model's.

    Raises:
        RunError: if the file is missing or damaged, or belongs to other settings or classes.
    """
    path = run.file(sparse_model_file(settings))
    state = load_state_dict(path)
    head = _sparse_head(state, settings, path)
    _check_classes(len(head.weight), classes, settings, run)
    model = build_dense_model(
        settings.arch, len(classes), reduced_strides=settings.reduced_strides, frozen=settings.freeze_backbone
    )
    model.set_sparse_head(head)
    own = model.state_dict()
    wrong = [f"{key} is unknown" for key in state if key not in own] + misfits(state, own)
    if wrong:
        raise RunError(f"{path} does not fit --arch {settings.arch}: {wrong[0]}; give the --arch it was trained with")
    if not (head.selection.min() >= 0 and head.selection.max() < model.backbone.n_features):
        raise RunError(f"{path} selects features that {settings.arch} does not have")
    model.load_state_dict({**own, **state})
    return hardware.place(model).eval()


def _sparse_head(state: dict[str, Tensor], settings: Settings, path: Path) -> SparseHead:
    """The head in a state dict; RunError if there is none, or its weights are not those of this model type."""
    needed = {name: f"linear.{name}" for name in ("selection", "mean", "std")}
    needed["weight"] = "linear.layer.weight"
    missing = [key for key in needed.values() if key not in state]
    if missing:
        raise RunError(f"{path} is not a sparse model: {missing[0]} is missing")
    layer = SparseLayer(**{name: state[key] for name, key in needed.items()}, bias=state.get("linear.layer.bias"))
    try:
        head = build_head(layer, settings.head)
    except ValueError as error:
        raise RunError(f"{path} is not a sparse model: {error}") from None
    binary = ((head.weight == 0) | (head.weight == 1)).all()
    if settings.kind.class_sets and not (binary and len(head.weight.sum(dim=1).unique()) == 1):
        raise RunError(
            f"the classes in {path} are not sets of equally many features, as those of {settings.model_type} are; "
            "give the --model_type it was trained as"
        )
    return head


def _check_classes(n_classes: int, classes: Sequence[str], settings: Settings, run: RunFolder) -> None:
    """Raise a RunError unless these are the classes of a model, as far as its file tells."""
    path = run.file(sparse_model_file(settings))
    if n_classes != len(classes):
        raise RunError(
            f"{path} knows {n_classes} classes, but {settings.dataset} under {settings.data_root} has "
            f"{len(classes)}; give the --data_root it was trained on"
        )
    card = ModelCard.read(path)
    if card is not None and card.data.get("classes") != list(classes):
        raise RunError(
            f"{path} was trained on other classes than those of {settings.dataset} under {settings.data_root}; "
            "give the --data_root it was trained on"
        )
