"""Metrics of a training so far: `metrics.csv` and `training.png` in the run folder, and trackers on request.

The rows of an unfinished training are part of its checkpoint, and the files are made from them. So a training that is
killed at any moment resumes without a missing or repeated row.
"""

import csv
import time
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from configs import processes
from configs.files import csv_text, write_atomically, write_text
from configs.fonts import optional_figure, prepare_fonts
from training.plan import DENSE
from training.trackers import Tracker

METRICS_FILE, FIGURE_FILE = "metrics.csv", "training.png"
# Including their weights; every stage has only some of them.
LOSS_TERMS = ("cross_entropy", "diversity", "mixed", "confusable", "hidden", "left_over", "grounding", "presence")
COLUMNS = (
    "stage",  # `dense`, or the name of the sparse model
    "phase",  # as in the log
    "kind",  # `epoch`: over a whole epoch; `step`: over the main process's steps since the row before
    "epoch",  # of the phase, from 1
    "step",  # of the phase: steps done
    "loss",
    *LOSS_TERMS,
    "lr",
    "classifier_lr",
    "train_accuracy",  # fraction, of the augmented images while the network learns
    "held_out_accuracy",  # fraction, see --eval_every and --validation
    "images_per_second",
    "memory_mb",  # largest so far: of the GPU if there is one, else of the process
)
# Columns in which a repeated run may differ.
OF_THE_MACHINE = ("images_per_second", "memory_mb")
SECONDS_BETWEEN_FIGURES = 60


class History:
    """The rows of one stage (`dense`, or the sparse model's name), beside those of other stages in the run folder."""

    def __init__(self, folder: Path, stage: str, tracker: Tracker | None = None):
        self.rows: list[dict] = []
        self._folder, self._stage, self._tracker = folder, stage, tracker
        self._drawn = time.monotonic()

    def restore(self, rows: list[dict]) -> None:
        """Start with the rows of an interrupted training; those of this stage in the files are replaced."""
        self.rows = rows
        if processes.is_main():
            self._write()
            if self._tracker:
                self._tracker.begin(self._stage, rows)

    def add(self, rows: list[dict]) -> None:
        """Add rows whose epoch is in the checkpoint; the main process writes them."""
        self.rows = [*self.rows, *rows]
        if not processes.is_main():
            return
        self._write()
        if self._tracker:
            self._tracker.add(rows)
        if time.monotonic() - self._drawn > SECONDS_BETWEEN_FIGURES:
            self.draw()

    def draw(self) -> None:
        """Write the figure of all stages so far."""
        if processes.is_main():
            self._drawn = time.monotonic()
            with optional_figure(FIGURE_FILE):
                prepare_fonts([])
                figure = training_figure(read_metrics(self._folder / METRICS_FILE))
                write_atomically(self._folder / FIGURE_FILE, figure.savefig)

    def _write(self) -> None:
        path = self._folder / METRICS_FILE
        others = [row for row in read_metrics(path) if row["stage"] != self._stage]
        own = [{"stage": self._stage, **row} for row in self.rows]
        # The dense model comes first, even if it was trained again after sparse ones.
        rows = sorted([*others, *own], key=lambda row: row["stage"] != DENSE)
        write_text(path, csv_text([COLUMNS, *map(_cells, rows)]))


def read_metrics(path: Path) -> list[dict]:
    """The rows of a `metrics.csv`, numbers as numbers, empty cells as None, without damaged lines; may be missing."""
    if not path.is_file():
        return []
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            found = [_row(cells) for cells in csv.DictReader(file)]
    except csv.Error:
        return []
    return [row for row in found if row is not None]


def _row(cells: dict) -> dict | None:
    """A row with its numbers; None if a column or a cell is missing or invalid."""
    if None in cells.values():
        return None
    try:
        return {key: _value(key, cells[key]) for key in COLUMNS}
    except (KeyError, ValueError):
        return None


def _value(key: str, text: str):
    if key in ("stage", "phase", "kind"):
        return text
    if not text:
        return None
    return int(text) if key in ("epoch", "step") else float(text)


def _cells(row: dict) -> list:
    return [f"{v:.6g}" if isinstance(v, float) else v for v in map(row.get, COLUMNS)]


def training_figure(rows: list[dict]) -> Figure:
    """Loss, accuracy and learning rate over the epochs in the rows of a `metrics.csv`, one stage after the other."""
    rows = [row for row in rows if row["kind"] == "epoch"]
    figure = Figure(figsize=(8, 7), layout="constrained")
    loss, accuracy, rate = figure.subplots(3, sharex=True, height_ratios=(2, 2, 1))
    for axes, label in ((loss, "Loss"), (accuracy, "Accuracy (%)"), (rate, "Learning rate")):
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    rate.set_xlabel("Epochs of all trainings in this folder, one after the other")
    rate.set_yscale("log")
    rate.yaxis.set(major_formatter=LogFormatter(), minor_formatter=LogFormatter())  # the default writes formulas
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    for name in ("loss", *LOSS_TERMS):
        _line(loss, rows, name, name.replace("_", " "))
    _line(accuracy, rows, "train_accuracy", "training", scale=100)
    _line(accuracy, rows, "held_out_accuracy", "test, or held out", scale=100)
    _line(rate, rows, "lr", "backbone")
    _line(rate, rows, "classifier_lr", "classifier")
    for axes in (loss, accuracy, rate):
        if axes.lines:
            axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _mark_stages(loss, rows)
    return figure


def _line(axes, rows: list[dict], name: str, label: str, scale: float = 1) -> None:
    """A curve over the rows that have a value, with gaps between stages."""
    points: dict[str, list] = {}
    for i, row in enumerate(rows, start=1):
        if row[name] is not None:
            points.setdefault(row["stage"], []).append((i, scale * row[name]))
    colour = None
    for of_stage in points.values():
        style = {"color": colour, "label": None if colour else label}
        (line,) = axes.plot(*zip(*of_stage, strict=True), marker=".", markersize=4, **style)
        colour = line.get_color()


def _mark_stages(axes, rows: list[dict]) -> None:
    """The name of every stage above its first epoch."""
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        first.setdefault(row["stage"], i + 1)
    for index, (stage, x) in enumerate(first.items()):
        for panel in axes.figure.axes:
            panel.axvline(x - 0.5, color="0.8", linewidth=0.8)
        height = (1.02, 1.09)[index % 2]  # a stage may be shorter than its name
        axes.annotate(stage, (x - 0.5, height), xycoords=("data", "axes fraction"), fontsize="small", color="0.4")
