"""Plots of prediction sets: coverage against target, set size against coverage, coverage of every class."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import beta

from configs.run_folder import write_atomically
from evaluation.prediction_sets import coverage_per_class, covered, methods

TARGETS = np.linspace(0.7, 0.99, 30)
# Colours that stay apart for colour-blind readers (Okabe and Ito).
COLOURS = dict(
    zip(
        ["CHiQPM", "CHiQPM (paper)", "THR", "APS", "RAPS"],
        ["#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7"],
        strict=True,
    )
)


def plot_prediction_sets(folder: Path, weight, calibration, test, classes, coverage: float) -> None:
    """Write `coverage.png`, `set_size.png` and `class_coverage.png` into a folder.

    Args:
        folder: created if it is missing.
        weight: as for `prediction_sets.methods`.
        calibration: feature table that calibrates.
        test: feature table that is predicted.
        classes: names of the classes.
        coverage: target of the plot per class.
    """
    curves, by_class = {}, {}
    for name, method in methods(weight).items():
        method.calibrate(calibration.features, calibration.logits, calibration.labels)
        *sweep, at_target = method.predict_each(test.features, test.logits, [*TARGETS, coverage])
        curves[name] = np.array(
            [
                (covered(sets, test.labels).mean().item(), sets.sum(dim=1).double().mean().item())
                for sets in sweep
            ]
        )
        by_class[name] = coverage_per_class(at_target, test.labels).numpy()
    for file, figure in (
        ("coverage.png", coverage_figure(curves, len(calibration))),
        ("set_size.png", set_size_figure(curves)),
        ("class_coverage.png", class_coverage_figure(by_class, classes, coverage)),
    ):
        write_atomically(folder / file, figure.savefig)


def coverage_figure(curves: dict, n_calibration: int):
    """Empirical coverage against its target, with the range that calibration data of this size allow."""
    figure, axes = _figure("Targeted coverage", "Coverage on test images")
    rank = np.ceil((n_calibration + 1) * TARGETS)
    low, high = beta.ppf([[0.05], [0.95]], rank, np.maximum(n_calibration + 1 - rank, 1e-9))
    axes.fill_between(TARGETS, low, high, color="0.9", label="90 % of calibration draws")
    axes.plot(TARGETS, TARGETS, color="0.5", linewidth=0.8)
    for name, curve in curves.items():
        axes.plot(TARGETS, curve[:, 0], color=COLOURS[name], label=name)
    axes.legend(frameon=False)
    return figure


def set_size_figure(curves: dict):
    """Average set size against the coverage that was reached: lower is better."""
    figure, axes = _figure("Coverage on test images", "Average set size (classes)")
    for name, curve in curves.items():
        axes.plot(
            curve[:, 0], curve[:, 1], color=COLOURS[name], label=name, marker=".", markersize=3
        )
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return figure


def class_coverage_figure(by_class: dict, classes, coverage: float):
    """Coverage of every class, hardest classes of the first method first; names where they can be read."""
    first = next(iter(by_class.values()))
    order = np.argsort(first, kind="stable")
    figure, axes = _figure(
        "", "Coverage on test images", width=max(6.4, min(16, 0.25 * len(order)))
    )
    axes.axhline(coverage, color="0.5", linewidth=0.8)
    for name, values in by_class.items():
        axes.plot(values[order], ".", color=COLOURS[name], label=name)
    if len(order) <= 60:
        axes.set_xticks(range(len(order)), [classes[c] for c in order], rotation=90)
    else:
        axes.set_xlabel("Classes, by coverage of the first method")
    axes.legend(frameon=False)
    return figure


def _figure(x_label: str, y_label: str, width: float = 6.4):
    figure = Figure(figsize=(width, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
