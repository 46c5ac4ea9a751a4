"""What a run folder says of how its models were made: in config.json, in the models' cards, and in its manifest."""

import os
import platform
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
    """Describe the run, its data (for `recorded_card`), versions, machine and commit in `config.json`."""
    write_json(
        run.file(CONFIG),
        {
            "arguments": settings.as_dict(),
            "recipes": settings.recipes(),
            "data": data,
            "command": " ".join(["python", *sys.argv]),
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
    """What `write_config` left in a run's folder; nothing where it cannot be read."""
    config = read_json(folder / CONFIG)
    return config if isinstance(config, dict) else {}


def recorded_arguments(folder: Path) -> dict:
    """The arguments that a run noted; none for downloaded models, and where they cannot be read."""
    arguments = read_config(folder).get("arguments")
    return arguments if isinstance(arguments, dict) else {}


def recorded_card(model: Path) -> tuple[ModelCard | None, Path]:
    """What is noted of a model, None for downloaded ones, and where: in its file, by earlier versions in config.json.

    Its data may be of any kind there.
    """
    card, config = ModelCard.read(model), model.with_name(CONFIG)
    if card is not None or not config.exists():
        return card, model
    return ModelCard(recorded_arguments(model.parent), read_config(model.parent).get("data"), {}), config


def recorded_images(file: Path) -> dict[str, str]:
    """The user's own images that a file of a run was made from: their folder as `data_root`, and their fingerprints.

    Empty for datasets, or if unknown; earlier versions recorded no fingerprints.
    """
    card, _ = recorded_card(file)
    if card is None:
        return {}
    dataset, root = recipes.DATASETS.get(str(card.settings.get("dataset"))), card.settings.get("data_root")
    if not (dataset and dataset.own_images and isinstance(root, str)):
        return {}
    return {
        "data_root": os.path.realpath(root),
        **{f"{split} images": str(card.images[split]) for split in ("train", "test") if split in card.images},
    }


def model_of_other_images(folder: Path, images: dict[str, str]) -> Path | None:
    """A finished model in a folder whose images have other fingerprints than these; None if there is none."""
    manifest = RunFolder(folder).manifest()
    for path in sorted([folder / DENSE_MODEL_FILE, *folder.glob(f"*{SPARSE_MODEL}")]):
        card = ModelCard.read(path)
        # Earlier versions noted the training images in the manifest.
        listed = manifest.get(path.name, {}).get("settings", {}).get("images")
        known = {"train": listed or images.get("train")} if card is None else card.images
        if any(known.get(split, images[split]) != images[split] for split in images):
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
        f"{run.path} holds {path.name}, a finished model of other images{whose or ''}, which is kept: choose another "
        "--seed or --log_dir, or give --overwrite to have it made again from these"
    )


def is_downloaded(settings: Settings, run: RunFolder) -> bool:
    """Whether a run's model was not made here, as far as its folder says."""
    path = run.file(sparse_model_file(settings))
    return path.exists() and ModelCard.read(path) is None and path.name not in run.manifest()


def commit() -> str | None:
    """The commit of this checkout, with a mark if files have been changed since; None without git or the history."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None
