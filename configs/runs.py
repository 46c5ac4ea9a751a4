"""Which run folder `main.py` works in, a new one or one that it resumes, and the runs that exist."""

import json
import logging
import os
import secrets
import sys
from dataclasses import replace
from pathlib import Path

from configs.model_size import model_size
from configs.records import model_of_other_images, read_config, recorded_arguments, recorded_images
from configs.run_files import CONFIG, selection_file, sparse_model_file, sparse_results_file
from configs.run_folder import RunFolder
from configs.settings import SEEDS, Settings

log = logging.getLogger(__name__)

# Settings of the machine and the folders, which may differ tomorrow.
OF_THE_MACHINE = ("log_dir", "folder", "device", "workers", "precision", "track")
# Settings that do not change a result.
INCIDENTAL = (*OF_THE_MACHINE, "seed", "data_root", "coverage", "eval_every")


def with_seed(settings: Settings, images: dict[str, str]) -> Settings:
    """The settings with a seed: the given one, that of the run in `--folder`, of an unfinished one, or a new one.

    Args:
        images: fingerprints of the training and the test images; runs on others are not resumed.
    """
    if settings.seed is not None:
        return settings
    own = recorded_arguments(Path(settings.folder)).get("seed") if settings.folder else None
    if isinstance(own, int) and own in SEEDS:
        log.info("Seed %d, as in %s.", own, settings.folder)
        return replace(settings, seed=own)
    unfinished = [
        folder
        for folder in (path.parent for path in newest_first(settings, CONFIG))
        if not (folder / sparse_results_file(settings)).exists()
        and _same_request(recorded_arguments(folder), settings)
        and folder.name == str(recorded_arguments(folder).get("seed"))
        and model_of_other_images(folder, images) is None
    ]
    if unfinished:
        seed = int(unfinished[0].name)
        log.info("Going on with the unfinished run of seed %d.", seed)
    else:
        seed = secrets.randbelow(2**31)
        log.info("Seed %d was drawn; --seed %d does the same again.", seed, seed)
    return replace(settings, seed=seed)


def training_run(settings: Settings) -> RunFolder:
    """The folder that `main.py` works in; the settings have a seed."""
    return RunFolder(settings.folder or settings.runs_folder / str(settings.seed))


def is_finished(settings: Settings) -> bool:
    """Whether a run has left results of these settings, as far as its files tell; no image is read."""
    settings = with_recorded_size(settings)
    run = training_run(settings)
    manifest = run.manifest()
    made_from = {file: entry["settings"] for file, entry in manifest.items()}
    asked = {
        selection_file(settings): settings.selection_dependencies(),
        sparse_model_file(settings): settings.sparse_dependencies(),
        sparse_results_file(settings): {"seed": settings.seed},
    }
    return _same_images(run.file(sparse_model_file(settings)), settings) and all(
        file in made_from and plain.items() <= made_from[file].items()
        for file, plain in json.loads(json.dumps(asked)).items()
    )


def with_recorded_size(settings: Settings) -> Settings:
    """The settings with numbers of features for the number of classes that their run recorded, if it did."""
    data = read_config(training_run(settings).path).get("data")
    classes = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(classes, list):
        return settings
    given = settings.n_features, settings.n_per_class
    n_features, n_per_class = model_size(len(classes), *given, available=sys.maxsize)
    return replace(settings, n_features=n_features, n_per_class=n_per_class)


def _same_request(earlier: dict, settings: Settings) -> bool:
    now, defaults = settings.as_dict(), Settings().as_dict()
    return bool(earlier) and all(earlier.get(key, defaults[key]) == now[key] for key in now if key not in INCIDENTAL)


def newest_first(settings: Settings, file: str) -> list[Path]:
    """Files with this name, which may be a pattern, in the run folders of this architecture and data."""
    found = [p for p in settings.runs_folder.glob(f"*/{file}") if _same_images(p, settings)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _same_images(file: Path, settings: Settings) -> bool:
    """Whether a run's file was made from the same folder of images: runs on all such folders share a place."""
    root = os.path.realpath(settings.data_root)
    return recorded_images(file).get("data_root", root) == root
