"""Which finished run and which of its models a command line means, and the settings it was made with."""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from configs import recipes
from configs.arguments import filled, given_flags
from configs.errors import RunError, UsageError
from configs.model_card import ModelCard
from configs.overrides import named
from configs.records import recorded_arguments
from configs.run_files import CONFIG, IMAGE_LIST, SPARSE_MODEL, sparse_model_file
from configs.run_folder import MANIFEST, RunFolder
from configs.runs import INCIDENTAL, OF_THE_MACHINE, newest_first, training_run, with_recorded_size
from configs.settings import BACKBONE, SELECTION, TRAINING, Settings, completed, parse_settings, resolve

NUMBERS = re.compile(rf"^[a-z]+_(\d+)_(\d+){re.escape(SPARSE_MODEL)}$")  # n_features and n_per_class in its name
# Settings that a finished model brings along.
RESTORED = tuple(f.name for f in fields(Settings) if f.name not in OF_THE_MACHINE)
# Those of them that its later use depends on, and not its making alone.
USED_LATER = [
    *(f.name for f in fields(Settings) if f.name in RESTORED and f.metadata["group"] not in (TRAINING, SELECTION)),
    "seed",
    "set",
]
# Settings that name one of the models in a folder.
MODEL_NAME = ("model_type", "n_features", "n_per_class")
# Settings that change a model's predictions but leave no trace in a downloaded file.
UNSEEN = ("img_size", "reduced_strides", "cropGT")


def finished_run(argv: Sequence[str] | None, description: str, *more: type) -> tuple:
    """The finished run that a command line means: its settings, its folder, and further flags.

    Settings are those recorded in the model's card, and flags override them. A downloaded model has no card.

    Args:
        argv: arguments without the script's name; `sys.argv[1:]` if None. `--folder` names the run, `--model_type`,
            `--n_features` and `--n_per_class` one of its models. Without `--folder` the run is that of `--seed`, or
            the newest finished one of this dataset, architecture and model type.
        description: what `--help` begins with.
        more: further dataclasses of flags, of which an instance each is returned.

    Raises:
        UsageError: if a flag does not fit or contradicts how the model was made, a downloaded model needs further
            ones, or `--folder` is not a folder.
        RunError: if there is no such run, or its model's card cannot be used.
    """
    given = given_flags(argv, description, *more, Settings)
    others: list = [filled(kind, given) for kind in more]
    if "folder" not in given:
        given |= _asked_model(completed(filled(Settings, given)))
    elif not Path(given["folder"]).is_dir():
        raise UsageError(f"--folder {given['folder']} is not a folder; name the folder of a run")
    run = RunFolder(given["folder"])
    model = _chosen_model(run, given)
    recorded = _recorded_settings(model)
    settings = completed(filled(Settings, {**given, **_restored(recorded, given)}))
    if not run.file(sparse_model_file(settings)).is_file():
        raise RunError(_no_model(settings, run.path, None if model.exists() else model.name))
    if recorded is None:
        _check_unseen(settings, run, given)
    else:
        _check_model(settings, recorded, run)
    # A downloaded model does not tell its seed, but calibration images are drawn with one.
    return replace(settings, seed=settings.seed or 0), run, *others


def refuse_to_replace_inputs(outputs: Iterable[Path], run: RunFolder, inputs: Iterable[str] = ()) -> None:
    """Raise a UsageError if a file to be written is one of the run's own, or one of the named inputs."""
    own = [*map(run.file, (MANIFEST, CONFIG, IMAGE_LIST, *run.manifest())), *run.path.glob(f"*{SPARSE_MODEL}")]
    kept = {os.path.realpath(path) for path in (*map(str, own), *inputs)}
    for path in outputs:
        if os.path.realpath(path) in kept:
            raise UsageError(f"--output {path} would replace a file that is read; name another one")


def shared_flags(settings: Settings, run: RunFolder) -> str:
    """The flags with which another script opens this model: the folder, and what its card does not say."""
    recorded = _recorded_settings(run.file(sparse_model_file(settings)))
    now = {**settings.as_dict(), "folder": str(run.path)}
    said = (recorded or resolve(Settings())).as_dict()
    chosen = _recorded_settings(_chosen_model(run, {}))  # without flags
    named_by = (chosen or resolve(Settings())).as_dict()
    unsaid = [
        name
        for name in USED_LATER
        if now[name] != (named_by if name in MODEL_NAME else said)[name]
        or (recorded is None and name in _unseen(settings))
    ]
    return shlex.join(_as_flags(now, ("folder", *unsaid)))


def training_command(model: Path) -> str | None:
    """The command that trains a model of a run again: its recorded settings, as far as they are not the usual ones.

    None for downloaded models; errors as in `finished_run`.
    """
    recorded = _recorded_settings(model)
    if recorded is None:
        return None
    usual = with_recorded_size(resolve(Settings(dataset=recorded.dataset, folder=str(model.parent)))).as_dict()
    own = recorded.as_dict()
    named = ("dataset", "model_type", "seed")
    unusual = [name for name in own if name not in (*named, *INCIDENTAL) and own[name] != usual[name]]
    return shlex.join(["python", "main.py", *_as_flags(own, (*named, *unusual))])


def _recorded_settings(model: Path) -> Settings | None:
    """The settings that a model was made with, None for downloaded ones; RunError if this version cannot use them."""
    card = ModelCard.read(model)
    if card is None:
        return None
    try:
        return parse_settings(_as_flags(card.settings, RESTORED), "")[0]
    except UsageError as error:
        raise RunError(f"{model} records settings that this version cannot use: {error}; train it again") from None


def _chosen_model(run: RunFolder, given: dict) -> Path:
    """The model that flags name, else that of the last call of `main.py`, else the only one there is."""
    own = recipes.DATASETS[given.get("dataset", Settings.dataset)]
    defaults = {"model_type": Settings.model_type, **vars(own), **recorded_arguments(run.path)}
    name = "_".join(str(given.get(key, defaults[key])) for key in MODEL_NAME)
    path = run.file(f"{name}{SPARSE_MODEL}")
    there = list(run.path.glob(f"*{SPARSE_MODEL}"))
    only = len(there) == 1 and not any(key in given for key in MODEL_NAME)
    return there[0] if only and not path.exists() else path


def _unseen(settings: Settings) -> list[str]:
    """The flags that a downloaded model needs: they change its predictions, and its file does not tell them."""
    boxes = recipes.DATASETS[settings.dataset].boxes
    return [name for name in UNSEEN if boxes or name != "cropGT"]


def _check_unseen(settings: Settings, run: RunFolder, given: dict) -> None:
    """Raise a UsageError if a downloaded model is opened without the flags it needs."""
    missing = [f"--{name}" for name in _unseen(settings) if name not in given]
    if missing:
        raise UsageError(
            f"{run.path} does not record how its model was trained; give {', '.join(missing)} as in its training: "
            "other values would silently change its results"
        )


def _restored(recorded: Settings | None, given: dict) -> dict:
    """A model's recorded settings, except those that flags override."""
    if recorded is None:
        return {}
    restored = {name: getattr(recorded, name) for name in RESTORED if name not in given}
    overrides = given.get("set", ())
    asked_for = {named(override) for override in overrides}
    kept = tuple(override for override in recorded.set if named(override) not in asked_for)
    return {**restored, "set": (*kept, *overrides)}


def _check_model(settings: Settings, recorded: Settings, run: RunFolder) -> None:
    """Raise a UsageError if the run's model was made with other settings."""
    for name in (*BACKBONE, "model_type"):
        now, then = getattr(settings, name), getattr(recorded, name)
        if then != now:
            path = run.file(sparse_model_file(settings))
            raise UsageError(
                f"{path} was made with {name} {then}, not {now}; give {then}, or another --folder or --seed"
            )


def _as_flags(values: dict, names: Iterable[str]) -> list[str]:
    """Settings as command line arguments; those that are None are left out."""
    flags = []
    for name in names:
        value = values.get(name)
        if value is not None and value != []:
            several = value if isinstance(value, list | tuple) else [value]
            flags += [f"--{name}", *map(str, several)]
    return flags


def _asked_model(settings: Settings) -> dict:
    """The folder of the seed, or of the newest finished model of this name, and the flags that name the model.

    Raises:
        RunError: if there is none.
    """
    name = {key: getattr(settings, key) for key in MODEL_NAME}
    if settings.seed is not None:
        known = {key: value for key, value in name.items() if value is not None}
        return {"folder": str(training_run(settings).path), **known}
    models = newest_first(settings, sparse_model_file(settings))
    numbers = ((path, NUMBERS.search(path.name)) for path in models)
    newest = next(((path, found) for path, found in numbers if found), None)  # people keep copies under other names
    if newest is None:
        raise RunError(_no_model(settings, settings.runs_folder))
    path, found = newest
    return {**name, "folder": str(path.parent), "n_features": int(found[1]), "n_per_class": int(found[2])}


def _no_model(settings: Settings, folder: Path, wanted: str | None = None) -> str:
    """The message for a folder, of one run or of several, that lacks a sparse model, that of the settings if None."""
    wanted = wanted or sparse_model_file(settings)
    every = f"*{SPARSE_MODEL}"
    there = folder.glob(every) if settings.folder else newest_first(settings, every)
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
