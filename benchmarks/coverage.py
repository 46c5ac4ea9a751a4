"""Coverage and set size of every method over random splits of a run's test images, or of simulated features.

For every method and coverage: mean and standard deviation of the coverage on the images that do not calibrate, average
set size, and `p`, the p-value of a chi-square test of the coverage's distribution against the law of split-conformal
prediction (`conformal.coverage_law`); if it is small, the law does not hold. Splits are drawn over all test images, as
the guarantee assumes; `--stratified` draws the same number in every class, as a run does.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from architectures.inference import FeatureTable
from benchmarks.table import markdown
from conformal.coverage_law import coverage_law, law_p_value
from conformal.split import CALIBRATION_PER_CLASS
from evaluation.prediction_sets import compare_methods, methods
from evaluation.random_splits import random_splits, saved_model


def simulated(n_images: int = 960, n_classes: int = 24):
    """Weights and feature table of a classifier that errs within and beyond families of four classes.

    The classes of a family share all but one feature; each feature of an image's class is silent in 15 % of the images.
    """
    generator, n_features, n_per_class = np.random.default_rng(0), 50, 5
    weight = np.zeros((n_classes, n_features))
    for c, row in enumerate(weight):
        if c % 4 == 0:
            row[generator.choice(n_features, n_per_class, replace=False)] = 1
        else:
            row[:] = weight[c - c % 4]
            out, into = (generator.choice(np.flatnonzero(row == on)) for on in (1, 0))
            row[out], row[into] = 0, 1
    labels = generator.integers(n_classes, size=n_images)
    strength = generator.gamma(6, 1 / 6, size=(n_images, 1))
    present = weight[labels] * (generator.random((n_images, n_features)) > 0.15)
    own = present * strength * generator.normal(3, 1, size=present.shape)
    others = (1 - weight[labels]) * generator.normal(-0.3, 1, size=present.shape)
    features = torch.from_numpy(np.maximum(own + others, 0)).float()
    classes, targets = torch.from_numpy(weight).float(), torch.from_numpy(labels)
    logits = features @ classes.T
    peaks = torch.zeros(n_images, n_features, 2)
    table = FeatureTable(features, features, targets, logits.argmax(dim=1), peaks, logits, peak_values=features)
    return classes, table


def tables(
    run_folder: str | None = None, *, model: str = "chiqpm_50_5", splits: int = 1000, stratified: bool = False
) -> Iterator[str]:
    """Coverage and size of every method at every coverage.

    Args:
        run_folder: of a finished run; None: simulated features.
        model: which of the run's models, MODELTYPE_NFEATURES_NPERCLASS.
        splits: random splits.
        stratified: whether every class calibrates with the same number of images.
    """
    weight, table = simulated() if run_folder is None else saved_model(Path(run_folder), model)
    found = random_splits(weight, table, splits, stratified)
    yield (
        f"{splits} splits of {len(table)} images into {found.n_calibration} that calibrate "
        f"({CALIBRATION_PER_CLASS} per class on average) and {found.n_test}; accuracy {table.accuracy:.1%}"
    )
    of_all = compare_methods(methods(weight, table), table, [1e-6])  # covered at any coverage
    rows = []
    for (name, target), counts in found.covered.items():
        always_covered = round(of_all[name]["1e-06"]["Coverage"] * len(table))
        law = coverage_law(found.n_calibration, found.n_test, target, always_covered)
        mean, deviation = counts.mean() / found.n_test, counts.std() / found.n_test
        numbers = f"{target:.1%}", f"{mean:.2%}", f"{deviation:.2%}", f"{found.sizes[name, target].mean():.2f}"
        rows.append([name, *numbers, f"{law_p_value(counts, law):.1g}"])
    yield markdown(["method", "target", "coverage", "std", "size", "p"], rows)
