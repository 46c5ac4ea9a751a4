"""Which run folder a command means: a new one, an unfinished one, or the newest finished one."""

import logging
import os
import platform
import secrets
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torchvision

from configs.errors import RunError
from configs.run_folder import RunFolder, read_json, write_json
from configs.settings import Settings, resolve

log = logging.getLogger(__name__)

CONFIG = "config.json"
# Settings that name a place or a machine, not a result.
INCIDENTAL = (
    "seed",
    "data_root",
    "log_dir",
    "folder",
    "device",
    "workers",
    "precision",
    "coverage",
)
# Settings that the files of a finished run were made with.
OF_THE_MODEL = (
    "cropGT",
    "img_size",
    "weights",
    "reduced_strides",
    "seed",
    "do_dense",
    "schedule_scale",
)


def dense_model_file() -> str:
    """Name of the dense model's state dict."""
    return "Trained_DenseModel.pth"


def sparse_model_file(settings: Settings) -> str:
    """Name of the sparse model's state dict."""
    return f"{settings.model_name}_FinetunedModel.pth"


def selection_file(settings: Settings) -> str:
    """Name of the file with the selected features and the class-feature weights."""
    return f"{settings.model_name}_Selection.npz"


def feature_table_file(settings: Settings, split: str) -> str:
    """Name of the sparse model's feature table on `train` or `test`."""
    return f"{settings.model_name}_Features_{split}.npz"


def calibration_file(settings: Settings) -> str:
    """Name of the calibrated predictor."""
    return f"{settings.model_name}_Calibration.npz"


def dense_results_file() -> str:
    """Name of the dense model's results."""
    return "Results_DenseModel.json"


def sparse_results_file(settings: Settings) -> str:
    """Name of the sparse model's results."""
    return f"Results_{settings.model_name}_FinetunedModel.json"


def with_seed(settings: Settings) -> Settings:
    """The settings with a seed: the given one, that of an unfinished run of the same settings, or a new one."""
    if settings.seed is not None:
        return settings
    unfinished = [
        folder
        for folder in _newest_first(settings, CONFIG)
        if not (folder / sparse_results_file(settings)).exists()
        and _same_request(_arguments(folder), settings)
    ]
    if unfinished:
        seed = _arguments(unfinished[0])["seed"]
        log.info("Going on with the unfinished run of seed %d.", seed)
    else:
        seed = secrets.randbelow(2**31)
        log.info("Seed %d was drawn; pass --seed %d to come back to this run.", seed, seed)
    return replace(settings, seed=seed)


def training_run(settings: Settings) -> RunFolder:
    """The folder that `main.py` works in; the settings have a seed."""
    return RunFolder(settings.folder or settings.runs_folder / str(settings.seed))


def finished_run(settings: Settings) -> tuple[Settings, RunFolder]:
    """The run that a script explains, and the settings its model was made with.

    Args:
        settings: `folder` or `seed` choose a run; otherwise the newest finished one of these settings is taken.

    Raises:
        RunError: if there is no such run.
    """
    wanted = sparse_model_file(settings)
    if settings.folder is not None or settings.seed is not None:
        run = training_run(settings)
        if not run.file(wanted).is_file():
            raise RunError(f"no finished model {wanted} in {run.path}; {_how_to_make(settings)}")
    else:
        folders = _newest_first(settings, wanted)
        if not folders:
            of = f" made from {settings.data_root}" if settings.dataset == "ImageFolder" else ""
            raise RunError(
                f"no finished model {wanted}{of} under {settings.runs_folder}; {_how_to_make(settings)}"
            )
        run = RunFolder(folders[0])
    made_with = _arguments(run.path)
    known = {key: made_with[key] for key in OF_THE_MODEL if key in made_with}
    # A downloaded model does not say its seed, but calibration images are drawn with one.
    known.setdefault("seed", settings.seed or 0)
    return replace(settings, **known), run


def write_config(settings: Settings, run: RunFolder, device: torch.device, data: dict) -> None:
    """Describe the run: arguments, data, command, versions, machine and commit, in `config.json`.

    Args:
        settings: the run's.
        run: its folder.
        device: where it computes.
        data: what `recorded_data` is to return; has a list `classes`.
    """
    write_json(
        run.file(CONFIG),
        {
            "arguments": settings.as_dict(),
            "data": data,
            "command": " ".join(["python", *sys.argv]),
            "device": str(device),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
            },
            "machine": platform.platform(),
            "commit": _commit(),
        },
    )


def recorded_data(run: RunFolder) -> dict | None:
    """What a run noted of its data; None for downloaded models."""
    return (read_json(run.file(CONFIG)) or {}).get("data")


def recorded_flags(folder: str | Path) -> list[str]:
    """The arguments of a run as they would be written on the command line; none for downloaded models.

    Device, workers and precision are left out: they belonged to the machine.
    """
    flags = []
    for name, value in _arguments(folder).items():
        if value is not None and name not in ("device", "workers", "precision"):
            values = value if isinstance(value, list) else [value]
            flags += [f"--{name}", *map(str, values)]
    return flags


def shared_flags(settings: Settings) -> str:
    """The flags with which another script finds this run."""
    flags = {"dataset": settings.dataset, "seed": settings.seed}
    defaults = resolve(Settings(dataset=settings.dataset))
    for name in (
        "arch",
        "model_type",
        "n_features",
        "n_per_class",
        "data_root",
        "log_dir",
        "folder",
    ):
        if getattr(settings, name) != getattr(defaults, name):
            flags[name] = getattr(settings, name)
    return " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in flags.items())


def _arguments(folder: str | Path) -> dict:
    """The arguments that a run noted; none for downloaded models."""
    return (read_json(Path(folder) / CONFIG) or {}).get("arguments", {})


def _same_request(earlier: dict, settings: Settings) -> bool:
    now = settings.as_dict()
    return bool(earlier) and all(
        earlier.get(key) == now[key] for key in now if key not in INCIDENTAL
    )


def _newest_first(settings: Settings, file: str) -> list[Path]:
    """Run folders of these settings and this data that hold a file, by the file's age."""
    found = [p for p in settings.runs_folder.glob(f"*/{file}") if _same_images(p.parent, settings)]
    return [path.parent for path in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)]


def _same_images(folder: Path, settings: Settings) -> bool:
    """Whether a run is about the images asked for: runs on all folders of images share a place."""
    made_with = _arguments(folder)
    if settings.dataset != "ImageFolder" or "data_root" not in made_with:
        return True
    return os.path.realpath(made_with["data_root"]) == os.path.realpath(settings.data_root)


def _how_to_make(settings: Settings) -> str:
    return f"train it with: python main.py --dataset {settings.dataset} --model_type {settings.model_type}"


def _commit() -> str | None:
    """The commit of this checkout, or None where git or the history is missing."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout.strip() or None
