"""What a run folder records about how its models were made: in config.json and in the models' cards."""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch
import torchvision

from configs import recipes
from configs.errors import UsageError
from configs.files import read_json, write_json
from configs.model_card import ModelCard
from configs.run_files import CONFIG, DENSE_MODEL_FILE, SPARSE_MODEL, sparse_model_file
from configs.run_folder import RunFolder
from configs.settings import Settings


def write_config(settings: Settings, run: RunFolder, device: torch.device, data: dict) -> None:
    """Describe the run, its data, versions, machine and commit in `config.json`."""
    write_json(
        run.file(CONFIG),
        {
            "arguments": settings.as_dict(),
            "recipes": settings.recipes(),
            "data": data,
            "command": shlex.join(["python", *sys.argv]),
            "device": str(device),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
            },
            "machine": platform.platform(),
            "commit": commit(),
        },
    )


def read_config(folder: Path) -> dict:
    """What `write_config` left in a run's folder; empty if it cannot be read."""
    config = read_json(folder / CONFIG)
    return config if isinstance(config, dict) else {}


def recorded_arguments(folder: Path) -> dict:
    """The arguments of the last `main.py` in a folder; empty for downloaded models, or if they cannot be read."""
    arguments = read_config(folder).get("arguments")
    return arguments if isinstance(arguments, dict) else {}


def recorded_images(file: Path) -> dict[str, str]:
    """The user's own images that a file of a run was made from: their folder as `data_root`, and their fingerprints.

    Empty for datasets, or if unknown. Only models record fingerprints.
    """
    card = ModelCard.read(file) or ModelCard(recorded_arguments(file.parent), {}, {})
    dataset, root = recipes.DATASETS.get(str(card.settings.get("dataset"))), card.settings.get("data_root")
    if not (dataset and dataset.own_images and isinstance(root, str)):
        return {}
    return {
        "data_root": os.path.realpath(root),
        **{f"{split} images": str(card.images[split]) for split in ("train", "test") if split in card.images},
    }


def model_of_other_images(folder: Path, images: dict[str, str]) -> Path | None:
    """A finished model in a folder whose images have other fingerprints than these; None if there is none."""
    for path in sorted([folder / DENSE_MODEL_FILE, *folder.glob(f"*{SPARSE_MODEL}")]):
        card = ModelCard.read(path)
        if card and any(card.images.get(split, images[split]) != images[split] for split in images):
            return path
    return None


def refuse_to_overwrite_models(run: RunFolder, images: dict[str, str]) -> None:
    """Raise a UsageError, which names the ways out, if a run would overwrite a finished model of other images."""
    path = model_of_other_images(run.path, images)
    if path is None:
        return
    card = ModelCard.read(path)
    whose = card and f" ({card.settings.get('dataset')} under {card.settings.get('data_root')})"
    raise UsageError(
        f"{run.path} holds {path.name}, a finished model of other images{whose or ''}; choose another --seed or "
        "--log_dir, or give --overwrite to replace it"
    )


def is_downloaded(settings: Settings, run: RunFolder) -> bool:
    """Whether a run's model has no card, so that it was not made by this program."""
    path = run.file(sparse_model_file(settings))
    return path.exists() and ModelCard.read(path) is None


def commit() -> str | None:
    """The commit of this checkout, marked if files have changed since; None without git or its history."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None
