"""State dicts in files, read without running code from them."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from configs.errors import RunError, reason


def save_tensors(content: dict, path: Path) -> None:
    """Write tensors and built-in values to a file for `torch.load`; equal content gives equal bytes.

    Given a path, `torch.save` would put the file's name into the file, and would not raise OSError on a full disk.

    Raises:
        OSError: if the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getbuffer())


def load_tensors(path: Path) -> dict:
    """What `save_tensors` wrote, on the CPU; unlike `torch.load`, it verifies the checksums in the file.

    Raises:
        Exception: of many kinds, if the file is missing or damaged.
    """
    _verify_checksums(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _verify_checksums(path: str | Path) -> None:
    """Raise `zipfile.BadZipFile` if a member of an archive is damaged."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} is damaged")


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU, under the names of the unwrapped model.

    Only tensors and built-in containers are unpickled, so a downloaded file cannot run code.

    Args:
        path: of a state dict as `torch.save` or safetensors writes it, by itself or as `state_dict` or `model` in a
            training checkpoint; `DataParallel` or `torch.compile` may have wrapped the model.

    Raises:
        RunError: if the file is missing, damaged, holds anything but a state dict of finite numbers, or asks to run
            code.
    """
    state: Any
    try:
        if Path(path).suffix == ".safetensors":
            state = load_file(path)
        else:
            if zipfile.is_zipfile(path):  # files of PyTorch before 1.6 are not archives
                _verify_checksums(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"no checkpoint at {path}") from None
    except IsADirectoryError:
        raise RunError(f"{path} is a folder, not a checkpoint; name a file in it") from None
    except MemoryError:
        raise
    except Exception as error:  # PyTorch raises many kinds for damaged files
        raise RunError(f"{path} {_why_unreadable(path, error)}") from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise RunError(f"{path} does not hold a state dict (names and tensors)")
    for name, value in state.items():
        if value.is_floating_point() and not value.float().isfinite().all():
            raise RunError(f"{name} in {path} holds NaN or infinite numbers: the training had diverged")
    return {_unwrapped(name): value for name, value in state.items()}


def misfits(state: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Why entries of a checkpoint do not fit a model; old checkpoints may lack the counts of batches."""
    return [
        _misfit(key, state.get(key), value)
        for key, value in own.items()
        if (key in state or not key.endswith("num_batches_tracked"))
        and (key not in state or state[key].shape != value.shape)
    ]


def _misfit(name: str, theirs: Tensor | None, ours: Tensor) -> str:
    """Why a checkpoint's entry does not fit: it is missing, or has another shape."""
    if theirs is None:
        return f"{name} is missing"
    if ours.ndim == theirs.ndim == 4 and ours.shape[1] == 3 != theirs.shape[1]:
        return f"{name} is for images of {theirs.shape[1]} channel(s), not of 3"
    return f"{name} has the shape {list(theirs.shape)}, not {list(ours.shape)}"


def _why_unreadable(path: str | Path, error: Exception) -> str:
    try:
        page = Path(path).read_bytes()[:512].lstrip().lower().startswith((b"<!doctype", b"<html"))
    except OSError:
        page = False
    why = reason(error).split(". ")[0]
    if page:
        return "is a web page, not a checkpoint (the server sent it in place of the file): remove it, or replace it"
    if isinstance(error, pickle.UnpicklingError):
        return f"holds more than tensors and is not loaded (it may be damaged, or contain code): {why}"
    return f"cannot be read as a checkpoint ({why}): replace it, or remove it and run main.py again"


def _unwrapped(name: str) -> str:
    """A parameter's name without the prefixes of `DataParallel` and `torch.compile`."""
    return name.removeprefix("_orig_mod.").removeprefix("module.").removeprefix("_orig_mod.")
