"""Plots of prediction sets: coverage against target, set size against coverage, coverage of every class."""

from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from architectures.inference import FeatureTable
from configs.files import write_atomically
from configs.fonts import prepare_fonts
from conformal import METHODS
from conformal.coverage_law import coverage_law
from evaluation.prediction_sets import coverage_and_size, coverage_per_class

LONGEST_NAME = 30  # characters of a class
TARGETS = np.linspace(0.7, 0.99, 30)
# Colours that colour-blind readers can tell apart (Okabe and Ito), in the order of the methods.
PALETTE = ("#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#000000")
FIRST_ABOVE = 20  # where curves coincide, that of the first method is on top
COLOURS = dict(zip((method.name for method in METHODS), cycle(PALETTE), strict=False))


def plot_prediction_sets(
    folder: Path, methods: dict, test: FeatureTable, *, n_calibration: int, classes, coverage: float
) -> None:
    """Write `coverage.png`, `set_size.png` and `class_coverage.png` into a folder."""
    prepare_fonts(classes)
    curves, by_class = {}, {}
    for name, method in methods.items():
        swept = method.predict_each(test.features, test.logits, TARGETS)
        curves[name] = np.array([coverage_and_size(sets, test.labels) for sets in swept])
        at_target = method.predict(test.features, test.logits, coverage)
        by_class[name] = coverage_per_class(at_target, test.labels).numpy()
    for file, figure in (
        ("coverage.png", coverage_figure(curves, n_calibration, len(test))),
        ("set_size.png", set_size_figure(curves)),
        ("class_coverage.png", class_coverage_figure(by_class, classes, coverage)),
    ):
        write_atomically(folder / file, figure.savefig)


def coverage_figure(curves: dict, n_calibration: int, n_test: int) -> Figure:
    """Empirical coverage against its target, with the range of its exact distribution for these numbers of images."""
    figure, axes = labelled_figure("Targeted coverage", "Coverage on test images")
    laws = np.array([coverage_law(n_calibration, n_test, target).cumsum() for target in TARGETS])
    low, high = (laws < 0.05).sum(axis=1) / n_test, (laws < 0.95).sum(axis=1) / n_test
    axes.fill_between(TARGETS, low, high, color="0.9", label="expected in 90 % of splits")
    axes.plot(TARGETS, TARGETS, color="0.5", linewidth=0.8, label="as targeted")
    for rank, (name, curve) in enumerate(curves.items()):
        axes.plot(TARGETS, curve[:, 0], color=COLOURS[name], label=name, zorder=FIRST_ABOVE - rank)
    axes.legend(frameon=False)
    return figure


def set_size_figure(curves: dict) -> Figure:
    """Average set size against the coverage that was reached: lower is better."""
    figure, axes = labelled_figure("Coverage on test images", "Average set size (classes)")
    for rank, (name, curve) in enumerate(curves.items()):
        style = {"color": COLOURS[name], "label": name, "zorder": FIRST_ABOVE - rank}
        axes.plot(curve[:, 0], curve[:, 1], marker=".", markersize=3, **style)
    sizes = np.concatenate([curve[:, 1] for curve in curves.values()])
    if sizes.max() > 10 * sizes.min():  # else a logarithmic axis has hardly a number
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(frameon=False)
    return figure


def class_coverage_figure(by_class: dict, classes, coverage: float) -> Figure:
    """Coverage of every class, the hardest for the first method first; names if they are readable."""
    first_name, first = next(iter(by_class.items()))
    order = np.argsort(first, kind="stable")
    width = max(6.4, min(16, 0.25 * len(order)))
    figure, axes = labelled_figure("", "Coverage on test images", width)
    axes.axhline(coverage, color="0.5", linewidth=0.8, label="as targeted")
    beside = np.linspace(-0.3, 0.3, len(by_class))
    for shift, (name, values) in zip(beside, by_class.items(), strict=True):
        positions = np.arange(len(order)) + shift
        axes.plot(positions, values[order], ".", color=COLOURS[name], label=name)
    if len(order) <= 60:
        names = (classes[c] for c in order)
        shown = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]
        axes.set_xticks(range(len(order)), shown, rotation=90)
    axes.set_xlabel(f"Classes, by coverage with {first_name}")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))  # beside the points
    return figure


def labelled_figure(x_label: str, y_label: str, width: float = 6.4, height: float = 4.8) -> tuple[Figure, Axes]:
    """A figure (size in inches) with one axes, without a frame at the top and on the right."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
