"""Weights to start from: torchvision's, none, or those in a file."""

from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from architectures.checkpoints import load_state_dict
from configs.errors import RunError


def load_weights(model: nn.Module, arch: str, weights: str) -> bool:
    """Give a dense model the asked weights; its final layer is theirs if it is for as many classes, else stays.

    Args:
        model: an `InterpretableClassifier` with random weights; changed in place.
        arch: name of its backbone.
        weights: `imagenet` (torchvision, V1 as in the papers), `none`, or a file with a state dict.

    Returns:
        Whether the final layer is theirs.

    Raises:
        RunError: if the weights cannot be downloaded, read, or belong to another architecture.
    """
    if weights == "none":
        return False
    state = _imagenet_weights(arch) if weights == "imagenet" else load_state_dict(weights)
    state = {key.replace("fc.", "linear.", 1): value for key, value in state.items()}
    own = model.state_dict()
    fits = {key for key, value in own.items() if key in state and state[key].shape == value.shape}
    optional = {key for key in own if key.endswith("num_batches_tracked")}
    wrong = [key for key in own if key not in fits | optional and not key.startswith("linear.")]
    if wrong:
        raise RunError(
            f"the weights {weights} do not fit {arch}: {wrong[0]} is missing or has another shape "
            f"({len(wrong)} such entries); give the --arch they were trained with"
        )
    model.load_state_dict({**own, **{key: state[key] for key in fits}})
    return {"linear.weight", "linear.bias"} <= fits


def _imagenet_weights(arch: str) -> dict[str, Tensor]:
    try:
        return get_model_weights(arch).IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise RunError(
            f"the ImageNet weights of {arch} could not be downloaded ({error}); pass --weights none to train from "
            f"scratch, or --weights FILE with a state dict downloaded elsewhere (torch cache: {torch.hub.get_dir()})"
        ) from error
