"""The sparse model of a finished run, ours or a published one, from its state dict alone."""

from collections.abc import Sequence

from architectures.checkpoints import load_state_dict
from architectures.resnet import InterpretableResNet
from architectures.sparse_head import SparseLayer, build_head
from configs.errors import RunError
from configs.hardware import Hardware
from configs.run_folder import RunFolder
from configs.runs import sparse_model_file
from configs.settings import Settings


def load_finished_model(
    settings: Settings, run: RunFolder, classes: Sequence[str], hardware: Hardware
) -> InterpretableResNet:
    """The finetuned sparse model of a run, on the hardware's device and in evaluation mode.

    Args:
        settings: the run's; architecture, strides and model type must be those of training.
        run: the folder with the state dict.
        classes: names of the dataset's classes, to be as many as the model's.
        hardware: where the model is to run.

    Raises:
        RunError: if the file is missing or damaged, or belongs to other settings or classes.
    """
    path = run.file(sparse_model_file(settings))
    state = load_state_dict(path)
    needed = {name: f"linear.{name}" for name in ("selection", "mean", "std")}
    needed["weight"] = "linear.layer.weight"
    missing = [key for key in needed.values() if key not in state]
    if missing:
        raise RunError(f"{path} is not a sparse model: {missing[0]} is missing")
    layer = SparseLayer(
        **{name: state[key] for name, key in needed.items()}, bias=state.get("linear.layer.bias")
    )
    n_classes = len(layer.weight)
    if n_classes != len(classes):
        raise RunError(
            f"{path} knows {n_classes} classes, but {settings.dataset} under {settings.data_root} has "
            f"{len(classes)}; give the --data_root it was trained on"
        )
    model = InterpretableResNet(settings.arch, n_classes, settings.reduced_strides)
    model.set_sparse_head(build_head(layer, settings.head))
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise RunError(
            f"{path} does not fit --arch {settings.arch}; give the --arch it was trained with"
        ) from None
    return hardware.place(model).eval()
