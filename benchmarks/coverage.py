"""Coverage and set size of every method over random splits of a run's test images, or of simulated features.

For every method and coverage: mean and standard deviation of the coverage on the images that do not calibrate, average
set size, and `p`, the p-value of a chi-square test of the coverage's distribution against the law of split-conformal
prediction (`conformal.coverage_law`); a small value means another law. Splits are drawn over all test images, as the
guarantee assumes; `--stratified` draws the same number in every class, as a run does. The last rows are nested families
of branches that were considered for mode "exact" and not chosen.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from architectures.inference import FeatureTable
from architectures.sparse_head import SparseLayer
from benchmarks.table import markdown
from configs.script import progress
from conformal.coverage_law import coverage_law, law_p_value
from conformal.hierarchy import Hierarchy
from conformal.scores.hierarchical import HierarchicalPredictor
from conformal.split import CALIBRATION_PER_CLASS, calibration_split
from evaluation.prediction_sets import COVERAGES, covered, methods


class OtherFamily(HierarchicalPredictor):
    """Exact sets from another score of branches `[N, C]`, of their `Hierarchy` alone; the prediction's counts as 0."""

    def __init__(self, weight, score):
        super().__init__(weight)
        self._score = score

    def _score_branches(self, features, logits):
        scores = self._over_hierarchies(lambda h, _: self._score(h), features, logits)
        return scores.scatter(1, logits.argmax(dim=1, keepdim=True), 0)


def depth_first(hierarchy: Hierarchy) -> torch.Tensor:
    """Branches that leave deeper come first, then those whose own feature is more active."""
    return hierarchy.path.shape[1] - hierarchy.depth - hierarchy.own / (1 + hierarchy.own)


def lacking_evidence(hierarchy: Hierarchy) -> torch.Tensor:
    """The published nonconformity minus that of the prediction: the same at every level that a class reaches."""
    beyond = F.pad(hierarchy.path.flip(1).cumsum(dim=1).flip(1), (0, 1))  # (N, k + 1)
    return (beyond.gather(1, hierarchy.depth) - hierarchy.own).clamp(min=0)


OTHER_FAMILIES = {"lacking evidence": lacking_evidence, "depth first": depth_first}


def simulated(n_images: int = 960, n_classes: int = 24, n_features: int = 50, n_per_class: int = 5):
    """Weights and feature table of a classifier that errs within and beyond families of four classes.

    The classes of a family share all but one feature; each feature of an image's class is silent in 15 % of the images.
    """
    generator = np.random.default_rng(0)
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
    table = FeatureTable(
        features=features,
        pooled=features,
        labels=targets,
        predictions=logits.argmax(dim=1),
        peaks=torch.zeros(n_images, n_features, 2),
        sid=torch.ones(n_images),
        logits=logits,
    )
    return classes, table


def split(labels, seed: int, stratified: bool):
    """Rows that calibrate and the other rows; as many as a run has."""
    if stratified:
        return calibration_split(labels, seed)
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    n = len(calibration_split(labels, seed)[0])
    return shuffled[:n], shuffled[n:]


def always_covered(method, table) -> int:
    """Images whose true class is in every set, at whatever coverage."""
    method.calibrate(table.features, table.logits, table.labels)
    return int(covered(method.predict(table.features, table.logits, 1e-6), table.labels).sum())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model and how many splits."""
    parser.add_argument("run_folder", type=Path, nargs="?", help="simulated features without it")
    parser.add_argument("--model", default="chiqpm_50_5")
    parser.add_argument("--splits", type=int, default=1000)
    parser.add_argument("--stratified", action="store_true")


def tables(arguments: argparse.Namespace) -> Iterator[str]:
    """Coverage and size of every method at every coverage."""
    if arguments.run_folder is None:
        weight, table = simulated()
    else:
        table = FeatureTable.load(arguments.run_folder / f"{arguments.model}_Features_test.npz")
        weight = SparseLayer.load(arguments.run_folder / f"{arguments.model}_Selection.npz").weight
    found = defaultdict(list)  # covered images and average size of every split
    for seed in progress(range(arguments.splits), desc="Splits"):
        calibration, test = (table[r] for r in split(table.labels, seed, arguments.stratified))
        compared = methods(weight, calibration, seed)
        for name, score in OTHER_FAMILIES.items():
            compared[name] = OtherFamily(weight, score)
            compared[name].calibrate(calibration.features, calibration.logits, calibration.labels)
        for name, method in compared.items():
            predicted = method.predict_each(test.features, test.logits, COVERAGES)
            for coverage, sets in zip(COVERAGES, predicted, strict=True):
                size = sets.sum(dim=1).double().mean().item()
                found[name, coverage].append((covered(sets, test.labels).sum().item(), size))
    n_calibration, n_test = len(calibration), len(test)
    yield (
        f"{arguments.splits} splits of {len(table)} images into {n_calibration} that calibrate "
        f"({CALIBRATION_PER_CLASS} per class on average) and {n_test}; accuracy {table.accuracy:.1%}"
    )
    certain = {name: always_covered(method, table) for name, method in compared.items()}
    rows = []
    for (name, coverage), of_splits in found.items():
        counts, sizes = np.array(of_splits).T
        p = law_p_value(counts, coverage_law(n_calibration, n_test, coverage, certain[name]))
        mean, deviation = counts.mean() / n_test, counts.std() / n_test
        numbers = f"{coverage:.1%}", f"{mean:.2%}", f"{deviation:.2%}", f"{sizes.mean():.2f}"
        rows.append([name, *numbers, f"{p:.1g}"])
    yield markdown(["method", "target", "coverage", "std", "size", "p"], rows)
