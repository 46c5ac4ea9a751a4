"""Plots over runs: accuracy by the size of the model, set size by coverage, accuracy by level of the hierarchy."""

from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from textwrap import fill

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from configs.files import write_atomically
from configs.fonts import prepare_fonts
from evaluation.plots import labelled_figure
from evaluation.run_table import DENSE, LEVELS, NAMES, SETS, Row

LINES = ("-", "--", ":")
NAME_WIDTH = 40  # letters per line of a curve's name; longer lines would leave the curves no room
SIZES = {"n_per_class": "Features per class", "n_features": "Features"}


def write_plots(folder: Path, rows: list[Row]) -> list[str]:
    """Write the plots that the rows have numbers for; returns the names of the files."""
    prepare_fonts([])
    figures = dict(_figures([row for row in rows if row.model != DENSE]))
    for name, figure in figures.items():
        write_atomically(folder / name, figure.savefig)
    return list(figures)


def _figures(rows: list[Row]) -> Iterator[tuple[str, Figure]]:
    for key, label in SIZES.items():
        curves = _curves_over(rows, key)
        if curves:
            yield f"accuracy_by_{key}.png", _figure(label, "Accuracy (%)", curves)
    sets = {
        f"{row.label}: {method}": _points(row, [(SETS, method, t) for t in row.entries(SETS, method)])
        for row in rows
        for method in row.entries(SETS)
    }
    if sets:
        figure = _figure("Coverage on test images (%)", "Average set size (classes)", sets, "model: sets by method")
        yield "set_size.png", figure
    levels = {
        row.label: [
            (int(level), *_spread([100 * v for v in row.values(LEVELS, level)])) for level in row.entries(LEVELS)
        ]
        for row in rows
        if row.entries(LEVELS)
    }
    if levels:
        figure = _figure("Level: leading features that agree", "Accuracy (%)", levels)
        yield "accuracy_by_level.png", figure


def _curves_over(rows: list[Row], key: str) -> dict[str, list[tuple]]:
    """Accuracy over a setting, one curve for rows that differ in nothing else; curves of one point are left out."""
    curves: dict[str, list[tuple]] = {}
    for row in rows:
        if key in row.differing:
            others = (f"{k} {v}" for k, v in row.differing.items() if k != key)
            name = ", ".join([NAMES[row.model], *others])
            point = (int(row.settings[key]), *_spread([100 * v for v in row.values("Accuracy")]))
            curves.setdefault(name, []).append(point)
    return {name: sorted(points) for name, points in curves.items() if len(points) > 1}


def _points(row: Row, paths: list[tuple[str, ...]]) -> list[tuple]:
    """Coverage in percent, mean and spread of the set size, for every targeted coverage."""
    return [
        (100 * mean(row.values(*path, "Coverage")), *_spread(row.values(*path, "Average set size"))) for path in paths
    ]


def _spread(values: list[float]) -> tuple[float, float]:
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def _figure(x_label: str, y_label: str, curves: dict[str, list[tuple]], title: str | None = None) -> Figure:
    """Curves of (x, mean, standard deviation) with error bars; `title` is the legend's."""
    figure, axes = labelled_figure(x_label, y_label, width=8)
    for i, (name, points) in enumerate(curves.items()):
        x, y, error = zip(*points, strict=True)
        shown = error if any(error) else None
        # Ten colours, then the same colours with another line style.
        axes.errorbar(
            x, y, shown, marker="o", markersize=4, capsize=2, label=fill(name, NAME_WIDTH),
            color=f"C{i % 10}", linestyle=LINES[i // 10 % len(LINES)],
        )  # fmt: skip
    if all(isinstance(point[0], int) for points in curves.values() for point in points):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no level 1.5
    axes.legend(
        frameon=False, title=title, fontsize="small", title_fontsize="small", loc="upper left", bbox_to_anchor=(1, 1)
    )
    return figure
