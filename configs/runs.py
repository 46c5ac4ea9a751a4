"""Which run folder a command means: a new one, an unfinished one, or the newest finished one."""

import json
import logging
import os
import re
import secrets
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from configs import recipes
from configs.arguments import filled, given_flags
from configs.errors import RunError, UsageError
from configs.model_card import ModelCard
from configs.model_size import model_size
from configs.overrides import named
from configs.records import model_of_other_images, read_config, recorded_arguments, recorded_card, recorded_images
from configs.run_files import CONFIG, IMAGE_LIST, SPARSE_MODEL, selection_file, sparse_model_file, sparse_results_file
from configs.run_folder import MANIFEST, RunFolder
from configs.settings import BACKBONE, SEEDS, Settings, completed, parse_settings, resolve

log = logging.getLogger(__name__)

NUMBERS = re.compile(rf"^[a-z]+_(\d+)_(\d+){re.escape(SPARSE_MODEL)}$")  # n_features and n_per_class in its name
# Settings of the machine and the place, which may be others tomorrow; the rest is restored from config.json.
OF_THE_MACHINE = ("log_dir", "folder", "device", "workers", "precision", "track")
RESTORED = tuple(f.name for f in fields(Settings) if f.name not in OF_THE_MACHINE)
# What names one of the models in a folder.
MODEL_NAME = ("model_type", "n_features", "n_per_class")
# What nobody can see in a downloaded model, though it changes what the model says.
UNSEEN = ("img_size", "reduced_strides", "cropGT")
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
        for folder in (path.parent for path in _newest_first(settings, CONFIG))
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
    """Whether a run has left results of these settings, as far as its files tell; no image is looked at."""
    settings = _with_recorded_size(settings)
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


def _with_recorded_size(settings: Settings) -> Settings:
    """The settings with the numbers of features that follow from how many classes their run noted, if it did."""
    data = read_config(training_run(settings).path).get("data")
    classes = data.get("classes") if isinstance(data, dict) else None
    if not isinstance(classes, list):
        return settings
    given = settings.n_features, settings.n_per_class
    n_features, n_per_class = model_size(len(classes), *given, available=sys.maxsize)
    return replace(settings, n_features=n_features, n_per_class=n_per_class)


def finished_run(argv: Sequence[str] | None, description: str, *more: type) -> tuple:
    """The finished run that a command line means: its settings, its folder, and further flags.

    Settings are those that were recorded with the model (earlier versions: in the folder's config.json), and flags
    override them. A downloaded model records nothing.

    Args:
        argv: arguments without the script's name; `sys.argv[1:]` if None. `--folder` names the run, `--model_type`,
            `--n_features` and `--n_per_class` one of its models. Without `--folder` the run is that of `--seed`, or
            the newest finished one of this dataset, architecture and model type.
        description: what `--help` begins with.
        more: further dataclasses of flags, of which an instance each is returned.

    Raises:
        UsageError: if a flag does not fit or contradicts what the run was made with, a downloaded model needs further
            ones, or `--folder` is not a folder.
        RunError: if there is no such run, or its config.json cannot be used.
    """
    given = given_flags(argv, description, *more, Settings)
    others: list = [filled(kind, given) for kind in more]
    if "folder" not in given:
        given |= _asked_model(completed(filled(Settings, given)))
    elif not Path(given["folder"]).is_dir():
        raise UsageError(f"--folder {given['folder']} is not a folder; name the folder of a run")
    run = RunFolder(given["folder"])
    recorded = _recorded_settings(run, given)
    settings = completed(filled(Settings, {**given, **_restored(recorded, given)}))
    if not run.file(sparse_model_file(settings)).is_file():
        raise RunError(_no_model(settings, run.path))
    if recorded is None:
        _check_unseen(settings, run, given)
    _check_model(settings, recorded, run)
    # A downloaded model does not say its seed, but calibration images are drawn with one.
    return replace(settings, seed=settings.seed or 0), run, *others


def refuse_to_replace_inputs(outputs: Iterable[Path], run: RunFolder, inputs: Iterable[str] = ()) -> None:
    """Raise a UsageError if a file that is to be written is one of the run's own, or one of some named inputs."""
    own = [*map(run.file, (MANIFEST, CONFIG, IMAGE_LIST, *run.manifest())), *run.path.glob(f"*{SPARSE_MODEL}")]
    kept = {os.path.realpath(path) for path in (*map(str, own), *inputs)}
    for path in outputs:
        if os.path.realpath(path) in kept:
            raise UsageError(f"--output {path} would replace a file that is read; name another one")


def shared_flags(settings: Settings, run: RunFolder) -> str:
    """The flags with which another script finds this model: the folder, and what is recorded of no model."""
    recorded = _recorded_settings(run, {name: getattr(settings, name) for name in MODEL_NAME})
    now = {**settings.as_dict(), "folder": str(run.path)}
    said = (recorded or resolve(Settings())).as_dict()
    chosen = _recorded_settings(run, {})  # without flags
    named_by = (chosen or resolve(Settings())).as_dict()
    unsaid = [
        name
        for name in RESTORED
        if now[name] != (named_by if name in MODEL_NAME else said)[name]
        or (recorded is None and name in _unseen(settings))
    ]
    return shlex.join(_as_flags(now, ("folder", *unsaid)))


def _recorded_settings(run: RunFolder, given: dict) -> Settings | None:
    """The settings that one of a run's models was made with; None for downloaded models.

    Args:
        given: flags by name; they may say which of its models.

    Raises:
        RunError: if they are in config.json alone, and not to be used.
    """
    card, path = recorded_card(_chosen_model(run, recorded_arguments(run.path), given))
    if card is None:
        return None
    try:
        if not card.settings:
            raise UsageError("it holds no arguments")
        return parse_settings(_as_flags(card.settings, RESTORED), "")[0]
    except UsageError as error:
        raise RunError(f"{path} is damaged: {error}; remove it and give the flags the model was trained with") from None


def _chosen_model(run: RunFolder, arguments: dict, given: dict) -> Path:
    """The model that flags name, else that of the last call of `main.py`, else the only one there is."""
    own = recipes.DATASETS[given.get("dataset", Settings.dataset)]
    defaults = {"model_type": Settings.model_type, **vars(own)}
    name = "_".join(str(given.get(key, arguments.get(key, defaults[key]))) for key in MODEL_NAME)
    path = run.file(f"{name}{SPARSE_MODEL}")
    there = list(run.path.glob(f"*{SPARSE_MODEL}"))
    only = len(there) == 1 and not any(key in given for key in MODEL_NAME)
    return there[0] if only and not path.exists() else path


def _unseen(settings: Settings) -> list[str]:
    """The flags of a downloaded model that change what it says and cannot be seen in it."""
    boxes = recipes.DATASETS[settings.dataset].boxes
    return [name for name in UNSEEN if boxes or name != "cropGT"]


def _check_unseen(settings: Settings, run: RunFolder, given: dict) -> None:
    """Raise a UsageError if a downloaded model is asked for without the flags that it cannot say."""
    missing = [f"--{name}" for name in _unseen(settings) if name not in given]
    if missing:
        raise UsageError(
            f"{run.path} does not record how its model was trained; give {', '.join(missing)} as in its training: with "
            "other values its results would be others, without an error"
        )


def _restored(recorded: Settings | None, given: dict) -> dict:
    """What a model's recorded settings say beside the flags that are given."""
    if recorded is None:
        return {}
    restored = {name: getattr(recorded, name) for name in RESTORED if name not in given}
    overrides = given.get("set", ())
    asked_for = {named(override) for override in overrides}
    kept = tuple(override for override in recorded.set if named(override) not in asked_for)
    return {**restored, "set": (*kept, *overrides)}


def _check_model(settings: Settings, recorded: Settings | None, run: RunFolder) -> None:
    """Raise a UsageError if the run's model was made with other settings."""
    file = sparse_model_file(settings)
    # A card is about this very file, whatever it is called and took the place of.
    carded = ModelCard.read(run.file(file)) is not None
    names: tuple[str, ...] = (*BACKBONE, "model_type") if carded else BACKBONE
    made_with = {} if recorded is None else {name: getattr(recorded, name) for name in names}
    if not carded:  # where several models share the folder, config.json may be about another one
        made_with |= run.manifest().get(file, {}).get("settings", {})
    for name in names:
        now = getattr(settings, name)
        then = made_with.get(name, now)
        if then != now:
            raise UsageError(
                f"{run.file(file)} was made with {name} {then}, not {now}; give {then}, or another --folder or --seed"
            )


def _as_flags(values: dict, names: Iterable[str]) -> list[str]:
    """Settings as they would be written on the command line; those that are None are left out."""
    flags = []
    for name in names:
        value = values.get(name)
        if value is not None and value != []:
            several = value if isinstance(value, list | tuple) else [value]
            flags += [f"--{name}", *map(str, several)]
    return flags


def _asked_model(settings: Settings) -> dict:
    """The folder of the seed, or that of the newest finished model of this name, and the flags that name the model.

    Raises:
        RunError: if there is none.
    """
    name = {key: getattr(settings, key) for key in MODEL_NAME}
    if settings.seed is not None:
        known = {key: value for key, value in name.items() if value is not None}
        return {"folder": str(training_run(settings).path), **known}
    models = _newest_first(settings, sparse_model_file(settings))
    numbers = ((path, NUMBERS.search(path.name)) for path in models)
    newest = next(((path, found) for path, found in numbers if found), None)  # people keep copies under other names
    if newest is None:
        raise RunError(_no_model(settings, settings.runs_folder))
    path, found = newest
    return {**name, "folder": str(path.parent), "n_features": int(found[1]), "n_per_class": int(found[2])}


def _same_request(earlier: dict, settings: Settings) -> bool:
    now, defaults = settings.as_dict(), Settings().as_dict()
    return bool(earlier) and all(earlier.get(key, defaults[key]) == now[key] for key in now if key not in INCIDENTAL)


def _newest_first(settings: Settings, file: str) -> list[Path]:
    """The files of a name, which may be a pattern, in the run folders of this architecture and data."""
    found = [p for p in settings.runs_folder.glob(f"*/{file}") if _same_images(p, settings)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _same_images(file: Path, settings: Settings) -> bool:
    """Whether a run's file is about the images asked for: runs on all folders of images share a place."""
    root = os.path.realpath(settings.data_root)
    return recorded_images(file).get("data_root", root) == root


def _no_model(settings: Settings, folder: Path) -> str:
    """What to say of a folder, of one run or of several, that lacks the sparse model of these settings."""
    wanted = sparse_model_file(settings)
    every = f"*{SPARSE_MODEL}"
    there = folder.glob(every) if settings.folder else _newest_first(settings, every)
    held = sorted({path.name.removesuffix(SPARSE_MODEL) for path in there})
    if held:
        return (
            f"no finished model {wanted} in {folder}, which holds {', '.join(held)}; "
            "choose with --model_type, --n_features and --n_per_class"
        )
    deeper = (path for n in (1, 2, 3) for path in folder.glob("*/" * n + every))
    below = next(deeper, None) if settings.folder else None
    if below is not None:
        return f"{folder} is not a run folder; name one, such as {below.parent}"
    own_images = recipes.DATASETS[settings.dataset].own_images
    of = f" made from {settings.data_root}" if own_images else ""
    return (
        f"no finished model {wanted}{of} in {folder}; "
        f"train it with: python main.py --dataset {settings.dataset} --arch {settings.arch} "
        f"--model_type {settings.model_type}"
    )
