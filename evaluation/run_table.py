"""Results of many runs, grouped by model and settings: mean and standard deviation over seeds."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from configs.errors import RunError, UsageError
from configs.files import read_json
from configs.model_types import MODEL_TYPES
from configs.records import recorded_arguments, recorded_images
from configs.run_files import DENSE_MODEL_FILE, DENSE_RESULTS_FILE, SPARSE_MODEL, SPARSE_RESULTS
from configs.run_folder import RunFolder
from evaluation.results import PERCENT, PUBLISHED_NAMES, recorded_results

log = logging.getLogger(__name__)

DENSE = "dense"
NAMES = {DENSE: "Dense", **{name: kind.title for name, kind in MODEL_TYPES.items()}}
KEPT = "Share of the dense accuracy"
SETS, LEVELS = "Prediction sets", "Level accuracies"
TRUTH, FAITHFUL = "Explanation truth", "Faithfulness"
LOWER_IS_BETTER = ("Correlation", "Dependence", "Dependence on test images")
NEUTRAL = ("Number of features", "Features per class", "Calibration images", "Prediction set images")
# Manifest entries that are determined by the other settings and the seed.
DIGESTS = ("images", "selection", "features", "seed")


@dataclass(frozen=True)
class Measured:
    """One model of one run."""

    folder: Path
    name: str  # `DENSE`, or what the names of its files begin with
    seed: int | None  # of the run, None if unknown
    settings: dict[str, str]  # what the model was made from, flat, without the seed
    results: dict  # as in its `Results_*.json`

    @property
    def model(self) -> str:
        """`DENSE`, or the model type."""
        return self.name.partition("_")[0]


@dataclass
class Row:
    """The same model under the same settings, over seeds."""

    model: str  # `DENSE`, or the model type
    settings: dict[str, str]  # flat
    runs: list[Measured] = field(default_factory=list)  # one for every seed
    # The settings in which it differs from other rows of its model
    differing: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of the row: the model, and the settings that set it apart from other rows of the model."""
        own = ", ".join(f"{key} {value}" for key, value in self.differing.items())
        return NAMES[self.model] + (f" ({own})" if own else "")

    def values(self, *keys: str) -> list[float]:
        """The numbers under a path of keys in the results, from every run that has it."""
        found = (_look_up(run.results, keys) for run in self.runs)
        return [float(value) for value in found if isinstance(value, int | float)]

    def entries(self, *keys: str) -> list[str]:
        """The keys below a path of keys in the results of any run, in order."""
        below = (_look_up(run.results, keys) for run in self.runs)
        return list(dict.fromkeys(key for d in below if isinstance(d, dict) for key in d))


def _look_up(results: dict, keys: tuple[str, ...]):
    value = results
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def gather(paths: Iterable[str]) -> list[Row]:
    """The models of all runs at or below some paths, one row for runs with the same settings; RunError if none."""
    rows: dict[tuple, Row] = {}
    places: dict[Any, str] = {}
    for folder in _run_folders(paths):
        for measured in _models(folder, places):
            key = (measured.model, *sorted(measured.settings.items()))
            row = rows.setdefault(key, Row(measured.model, measured.settings))
            if measured.seed in [run.seed for run in row.runs]:
                log.warning("%s repeats a run of seed %s; it is left out.", folder, measured.seed)
            else:
                row.runs.append(measured)
    if not rows:
        raise RunError(f"no finished run in {', '.join(paths)}; a run leaves Results_*.json in its folder")
    order = list(NAMES)
    gathered = sorted(rows.values(), key=lambda r: (order.index(r.model), _numbers_first(r.settings)))
    tell_apart(gathered)
    return gathered


def tell_apart(rows: list[Row]) -> None:
    """Set `differing` of every row: the settings in which it differs from other rows of its model.

    Settings that only some rows have (the recipe of a stage) are left out if the common ones set all rows apart.
    """
    for model in {row.model for row in rows}:
        same = [row for row in rows if row.model == model]
        keys = dict.fromkeys(key for row in same for key in row.settings)
        differ = [key for key in keys if len({row.settings.get(key) for row in same}) > 1]
        common = [key for key in differ if all(key in row.settings for row in same)]
        suffice = len({tuple(row.settings[key] for key in common) for row in same}) == len(same)
        for row in same:
            row.differing = {k: row.settings[k] for k in (common if suffice else differ) if k in row.settings}


def _run_folders(paths: Iterable[str]) -> list[Path]:
    folders = []
    for path in map(Path, paths):
        if not path.is_dir():
            raise UsageError(f"{path} is not a folder; name run folders, or folders that hold some")
        folders += sorted({file.parent for file in path.rglob("Results_*.json")})
    return list(dict.fromkeys(folders))


def _models(folder: Path, places: dict[Any, str]) -> Iterator[Measured]:
    """The models of a run folder that have results; `places`: where the user's own images were seen first."""
    run, manifest = RunFolder(folder), RunFolder(folder).manifest()
    arguments = recorded_arguments(folder)
    dense = recorded_results(run.file(DENSE_RESULTS_FILE))

    def measured(name: str, results: dict, *files: str) -> Measured:
        made_from: dict = {}
        for file in files:
            made_from |= manifest.get(file, {}).get("settings", {})
        made_from = made_from or {k: arguments[k] for k in ("dataset", "arch") if k in arguments}
        images = recorded_images(run.file(files[0]))
        if images:  # runs on other images are not further seeds, but the same images may have been moved
            root = images.pop("data_root")
            made_from |= {**images, "data_root": places.setdefault(tuple(images.values()) or root, root)}
        seed = made_from.get("seed", arguments.get("seed"))
        return Measured(folder, name, seed, dict(_flat(made_from)), results)

    if dense.get("Accuracy") is not None:
        yield measured(DENSE, dense, DENSE_MODEL_FILE, DENSE_RESULTS_FILE)
    prefix, suffix = SPARSE_RESULTS.split("{}")
    for path in sorted(folder.glob(SPARSE_RESULTS.format("*"))):
        results = read_json(path)
        name = path.name.removeprefix(prefix).removesuffix(suffix)
        if name.partition("_")[0] not in NAMES or "Accuracy" not in recorded_results(path):
            log.warning("%s is not a file of results; it is left out.", path)
            continue
        if dense.get("Accuracy"):
            own = results["Accuracy"]
            results = {"Accuracy": own, KEPT: own / dense["Accuracy"], **results}
        yield measured(name, results, f"{name}{SPARSE_MODEL}", f"{name}_Selection.npz")


def _flat(settings: dict, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif key not in (*DIGESTS, "model", "attributes"):
            yield prefix + key, ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _numbers_first(settings: dict[str, str]) -> list:
    """A key that sorts numbers by size."""
    return [(_as_number(v) or 0.0, v) for _, v in sorted(settings.items())]


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Metric:
    """A line of the tables."""

    name: str
    path: tuple[str, ...]  # its keys in the results
    percent: bool = True  # whether its numbers are shares, to be shown in percent
    better: int = 1  # 1 if higher is better, -1 if lower is, 0 if neither


def metrics_of(rows: list[Row]) -> list[Metric]:
    """All numbers in the results of some rows."""
    found = []
    sparse_first = sorted(rows, key=lambda row: row.model == DENSE)

    def entries(*keys: str) -> list[str]:
        return list(dict.fromkeys(entry for row in sparse_first for entry in row.entries(*keys)))

    for name in entries():
        if name in PUBLISHED_NAMES.values():
            continue  # the same number under our name
        better = -1 if name in LOWER_IS_BETTER else 0 if name in NEUTRAL else 1
        found.append(Metric(name, (name,), name in (*PERCENT, KEPT), better))
    for group, title in ((LEVELS, "Accuracy, level {}"), (TRUTH, "{}")):
        for name in entries(group):
            better = 0 if name.endswith(("chance", "standard deviation")) else 1
            found.append(Metric(title.format(name), (group, name), better=better))
    for name in entries(FAITHFUL):
        better = 0 if name.endswith("cells") else 1 if name.endswith("insertion") else -1
        found.append(Metric(name, (FAITHFUL, name), percent=False, better=better))
    for method in entries(SETS):
        for target in entries(SETS, method):
            if (share := _as_number(target)) is None:
                continue
            title = f"{method} at {100 * share:g} %"
            at = (SETS, method, target)
            found += [
                Metric(f"{title}: coverage", (*at, "Coverage"), better=0),
                Metric(f"{title}: set size", (*at, "Average set size"), percent=False, better=-1),
                Metric(f"{title}: set size, of THR's", (*at, "Set size, of THR's"), percent=False, better=0),
                Metric(f"{title}: coherence", (*at, "Set coherence"), percent=False),
            ]
    return [metric for metric in found if any(row.values(*metric.path) for row in rows)]


@dataclass(frozen=True)
class Cell:
    """A metric of a row over its seeds; `std` is None for a single seed."""

    mean: float
    std: float | None
    n: int
    best: bool = False

    def text(self, percent: bool) -> str:
        """Mean and standard deviation, for people."""
        if not percent and self.mean == int(self.mean) and not self.std:
            return str(int(self.mean))  # a count
        factor, digits = (100, 1) if percent else (1, 2)
        unit = " %" if percent else ""
        spread = "" if self.std is None else f" ± {factor * self.std:.{digits}f}"
        return f"{factor * self.mean:.{digits}f}{spread}{unit}"


def cells_of(rows: list[Row], metric: Metric) -> list[Cell | None]:
    """The metric in every row, the best of the sparse models marked; None where a row lacks it."""
    values = [row.values(*metric.path) for row in rows]
    shown = [round(metric.better * mean(v), 3 if metric.percent else 2) if v else None for v in values]
    rivals = [s for s, row in zip(shown, rows, strict=True) if s is not None and row.model != DENSE]
    contest = metric.better != 0 and len(rivals) > 1
    cells = []
    for v, s, row in zip(values, shown, rows, strict=True):
        best = contest and row.model != DENSE and s == max(rivals)
        cells.append(Cell(mean(v), stdev(v) if len(v) > 1 else None, len(v), best) if v else None)
    return cells
