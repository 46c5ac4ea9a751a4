"""Every stage against a straightforward implementation of the same, and how its cost grows."""

import argparse
import time
from pathlib import Path

from benchmarks import calibration, constants, evaluation, glm_path, loading, selection, training
from benchmarks.measuring import machine
from benchmarks.table import Row, compare, grow, markdown
from configs.run_folder import write_atomically
from configs.script import progress

STEP = "Training step, {arch} at {side} px, {images} images"
OTHER_STEP = "float32 step, channels first"
TINY_STEP = {"arch": "resnet18", "side": 32, "images": 2}
SETS = "Calibration and prediction sets: "

# fmt: off
ROWS = (
    Row(STEP, training.step, {"arch": "resnet50", "side": 224, "images": 8}, TINY_STEP,
        against=OTHER_STEP, rounds=3, counts="images"),
    Row(STEP, training.step, {"arch": "resnet18", "side": 64, "images": 32}, TINY_STEP,
        against=OTHER_STEP, rounds=7, counts="images"),
    Row("The same in {precision}", training.step,
        {"arch": "resnet18", "side": 64, "images": 32, "precision": "bf16"}, TINY_STEP | {"precision": "bf16"},
        against=OTHER_STEP, rounds=5, counts="images"),
    Row("Loading {images} JPEG files of {width} x {height} px for training at {side} px", loading.epoch,
        {"images": 128, "width": 400, "height": 300, "side": 224}, {"images": 2, "width": 40, "height": 30, "side": 16},
        against="decoding each time", rounds=5, counts="images"),
    Row("A and R: {images} images, {features} features, {classes} classes", constants.correlations,
        {"images": 6000, "features": 2048, "classes": 200}, {"images": 60, "features": 12, "classes": 5},
        against="numpy.corrcoef with a 0/1 column per class", rounds=3),
    Row("Clusters for b: {features} features", constants.clusters, {"features": 512}, {"features": 20},
        against="scikit-learn's MeanShift"),
    Row("Selection, proven optimal: 12 of {features} features, {classes} classes", selection.proven,
        {"features": 64, "classes": 16, "seconds": 60}, {"features": 20, "classes": 6, "seconds": 20},
        against="HiGHS", rounds=3, shows="objective {:.4f}"),
    Row("CHiQPM's selection, {instance}, and {bound_seconds} s for its upper bound", selection.certified,
        {"instance": "large_qpm_512x196", "rho": 0.5, "bound_seconds": 10},
        {"instance": "chiqpm_00", "rho": 0.5, "bound_seconds": 0.1}, shows="gap {:.2f} %"),
    Row("Sparse path, {points} points: {images} images, {features} features, {classes} classes", glm_path.strengths,
        {"images": 2000, "features": 50, "classes": 50, "points": 2},
        {"images": 60, "features": 5, "classes": 3, "points": 1}, against="glm-saga", shows="objective {:.4f}"),
    Row(SETS + "{images} images, {classes} classes", calibration.prediction_sets,
        {"images": 2000, "classes": 100}, {"images": 40, "classes": 4},
        against="the formula, class by class", rounds=3, counts="images"),
    Row("Contrastiveness: {images} images, {features} features", evaluation.modes,
        {"images": 6000, "features": 50}, {"images": 60, "features": 3},
        against="scikit-learn's mixtures, one feature after another", rounds=3, shows="{:.4f}"),
    Row("All metrics that need no images: {images} images, {classes} classes, 50 features", evaluation.all_at_once,
        {"images": 10_000, "classes": 200}, {"images": 100, "classes": 10}, rounds=3),
)

GROWTHS = (
    Row("A and R: {images} images, {classes} classes", constants.correlations,
        {"images": 6000, "features": (256, 1024, 4096), "classes": 200},
        {"images": 50, "features": (10, 20), "classes": 5}, rounds=3),
    Row("Clusters for b", constants.clusters, {"features": (512, 1024, 2048)}, {"features": (10, 20)}, rounds=3),
    Row("Redundancy threshold (stops after 2 ms per feature, at least 1 s), {classes} classes", selection.threshold,
        {"features": (256, 512, 1024, 2048), "classes": 100}, {"features": (51, 52), "classes": 3}),
    Row("Search, {count} steps: {classes} classes", selection.swaps,
        {"features": (256, 512, 1024, 2048), "classes": 200, "count": 100},
        {"features": (55, 60), "classes": 3, "count": 2}, rounds=3),
    Row("Sparse path, first point: {images} images, {classes} classes", glm_path.strengths,
        {"images": 4000, "features": (25, 50, 100), "classes": 50, "points": 1},
        {"images": 60, "features": (5, 6), "classes": 3, "points": 1}, rounds=3),
    Row(SETS + "{classes} classes", calibration.prediction_sets,
        {"images": (1000, 4000, 16_000), "classes": 100}, {"images": (40, 80), "classes": 4}, rounds=3),
    Row(SETS + "{images} images", calibration.prediction_sets,
        {"images": 2000, "classes": (100, 400, 1600)}, {"images": 40, "classes": (4, 8)}, rounds=3),
)
# fmt: on

COMPARED = ["what", "ours", "compared with", "takes", "ratio", "peak memory, ours", "the other"]
GROWN = ["what", "size that grows", "time", "slope"]

PAGE = """# Benchmarks

`{command}`, {minutes:.1f} minutes.

{machine}

## Against a straightforward implementation

Ratio: time of the other way over ours, so above 1 ours is faster. Each way has a process of its own; times are medians
of runs in turns, after a first one that is not counted; where a run takes long, the first is all. Peak memory: what the
first run allocates beside its input. Training: dense model, reduced strides, 200 classes, the same losses and SGD on
both sides.

{comparisons}

## As sizes grow

Slope p: time grows as size^p (least squares in logarithms; small sizes pay constant costs too).

{growths}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the page goes."""
    parser.add_argument("--output", type=Path, help="also write the page to this file")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: do all rows work?")


def report(asked: argparse.Namespace) -> None:
    """Measure all rows and print the page; with `--quick` at tiny sizes, whose numbers mean nothing."""
    about, start = machine(), time.perf_counter()
    rows, growths = ([r.quick_look() if asked.quick else r for r in rs] for rs in (ROWS, GROWTHS))
    compared = [compare(row) for row in progress(rows, desc="Comparing")]
    grown = [grow(row) for row in progress(growths, desc="Growing")]
    text = PAGE.format(
        command="python -m benchmarks" + (" --quick" if asked.quick else ""),
        minutes=(time.perf_counter() - start) / 60,
        machine=markdown(["machine", ""], map(list, about.items())),
        comparisons=markdown(COMPARED, compared),
        growths=markdown(GROWN, grown),
    )
    print(text)
    if asked.output:
        write_atomically(asked.output, lambda path: path.write_text(text, encoding="utf-8"))
