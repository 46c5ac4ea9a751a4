"""Coverage and set size of every method over random splits of a run's test images, or of simulated features.

For every method and coverage: mean and standard deviation of the coverage on the images that do not calibrate, average
set size, and `p`, the p-value of a chi-square test of the coverage's distribution against the law of split-conformal
prediction (`conformal.coverage_law`); a small value means another law. Splits are drawn over all test images, as the
guarantee assumes; `--stratified` draws the same number in every class, as a run does. The last rows are nested families
of branches that were considered for mode "exact" and not chosen.
"""

import argparse
import math
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from architectures.inference import FeatureTable
from architectures.sparse_head import SparseLayer
from benchmarks.table import markdown
from configs.script import progress
from conformal.coverage_law import coverage_law, law_p_value
from conformal.hierarchy import Hierarchy, class_feature_indices, prediction_hierarchy
from conformal.predictor import ConformalPredictor
from conformal.scores.hierarchical import HierarchicalPredictor
from conformal.split import CALIBRATION_PER_CLASS, calibration_split
from evaluation.prediction_sets import COVERAGES, covered, methods


class OtherFamily(ConformalPredictor):
    """Exact sets from another score of branches, which mode "exact" does not use.

    Args:
        weight: binary class-feature weights `[C, n]`.
        score: of a `Hierarchy`, `[N, C]`, lowest for the prediction.
    """

    def __init__(self, weight, score):
        super().__init__("exact")
        self._class_features, self._score = class_feature_indices(weight), score

    def calibrate(self, features, logits, labels):
        """Remember the scores of the true classes; returns the predictor."""
        scores = self._scores(features.double(), logits, None)
        self._calibration = scores.gather(1, labels[:, None]).squeeze(1)
        return self

    def _true_scores(self, coverage):
        return self._calibration

    def _scores(self, features, logits, level):
        hierarchy = prediction_hierarchy(features, logits.argmax(dim=1), self._class_features)
        scores = self._score(hierarchy)
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


@contextmanager
def prediction_sets(images: int, classes: int, coverage: float = 0.9):
    """Calibration on a quarter of the images and the sets of all others."""
    weight, table = simulated(images, classes)
    calibration, test = table[: images // 4], table[images // 4 :]

    def ours() -> torch.Tensor:
        predictor = HierarchicalPredictor(weight)
        predictor.calibrate(calibration.features, calibration.logits, calibration.labels)
        return predictor.predict(test.features, test.logits, coverage)

    yield ours, lambda: class_by_class(weight, calibration, test, coverage)


def class_by_class(weight, calibration, test, coverage: float) -> np.ndarray:
    """The same sets, `[N, C]`, by the formula of docs/calibration.md for one image and one class at a time."""
    members = [set(np.flatnonzero(row)) for row in weight.numpy()]

    def branch(features: np.ndarray, predicted: int, label: int) -> tuple:
        path, other = (
            sorted((f for f in members[c] if features[f] > 0), key=lambda f: (-features[f], f))
            for c in (predicted, label)
        )
        depth = next(
            (d for d, (f, g) in enumerate(zip(path, other, strict=False)) if f != g),
            min(len(path), len(other)),
        )
        return tuple(other[: depth + 1])

    def scores(table: FeatureTable, labels) -> list[list[float]]:
        rows = zip(
            table.features.double().numpy(),
            table.predictions.tolist(),
            table.logits.double().softmax(dim=1).numpy(),
            labels,
            strict=True,
        )
        found = []
        for x, p, probabilities, candidates in rows:
            of = [branch(x, p, c) for c in range(len(members))]
            mean = {
                b: probabilities[[c for c, other in enumerate(of) if other == b]].mean()
                for b in set(of)
            }
            found.append([0.0 if of[c] == of[p] else 1 - mean[of[c]] for c in candidates])
        return found

    truth = sorted(s for (s,) in scores(calibration, calibration.labels[:, None].tolist()))
    rank = math.ceil((len(truth) + 1) * coverage)
    limit = truth[rank - 1] if rank <= len(truth) else math.inf
    every_class = [range(len(members))] * len(test)
    return np.array(scores(test, every_class)) <= limit


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


def report(arguments: argparse.Namespace) -> None:
    """Print the table."""
    if arguments.run_folder is None:
        weight, table = simulated()
    else:
        table = FeatureTable.load(arguments.run_folder / f"{arguments.model}_Features_test.npz")
        weight = SparseLayer.load(arguments.run_folder / f"{arguments.model}_Selection.npz").weight
    counts, sizes = defaultdict(list), defaultdict(list)
    for seed in progress(range(arguments.splits), desc="Splits"):
        calibration, test = (table[r] for r in split(table.labels, seed, arguments.stratified))
        compared = methods(weight, calibration, seed)
        for name, score in OTHER_FAMILIES.items():
            compared[name] = OtherFamily(weight, score).calibrate(
                calibration.features, calibration.logits, calibration.labels
            )
        for name, method in compared.items():
            predicted = method.predict_each(test.features, test.logits, COVERAGES)
            for coverage, sets in zip(COVERAGES, predicted, strict=True):
                counts[name, coverage].append(int(covered(sets, test.labels).sum()))
                sizes[name, coverage].append(sets.sum(dim=1).double().mean().item())
    n_calibration, n_test = len(calibration), len(test)
    print(
        f"{arguments.splits} splits of {len(table)} images into {n_calibration} that calibrate "
        f"({CALIBRATION_PER_CLASS} per class on average) and {n_test}; accuracy {table.accuracy:.1%}"
    )
    rows = []
    for name, method in compared.items():
        certain = always_covered(method, table)
        for coverage in COVERAGES:
            observed = np.array(counts[name, coverage])
            p = law_p_value(observed, coverage_law(n_calibration, n_test, coverage, certain))
            mean, deviation = observed.mean() / n_test, observed.std() / n_test
            size = f"{np.mean(sizes[name, coverage]):.2f}"
            rows.append(
                [name, f"{coverage:.1%}", f"{mean:.2%}", f"{deviation:.2%}", size, f"{p:.1g}"]
            )
    print(markdown(["method", "target", "coverage", "std", "size", "p"], rows))
