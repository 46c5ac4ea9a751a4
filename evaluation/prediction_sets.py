"""Prediction sets of the hierarchy and of the softmax baselines, compared on the same images."""

from torch import Tensor

from architectures.inference import FeatureTable
from conformal import METHODS
from evaluation.metrics import set_coherence

# Coverages of the published tables.
COVERAGES = (0.88, 0.9, 0.925, 0.95)


def methods(weight: Tensor | None, calibration: FeatureTable, seed: int = 0) -> dict:
    """Calibrated predictors by name.

    Args:
        weight: binary class-feature weights `[C, n]`; None if classes are not sets of features, for methods without a
            hierarchy only.
        seed: of the draws of APS and RAPS.
    """
    by_name = {
        method.name: method.make(weight, seed) for method in METHODS if weight is not None or not method.hierarchical
    }
    for method in by_name.values():
        method.calibrate(calibration.features, calibration.logits, calibration.labels)
    return by_name


def set_results(sets: Tensor, labels: Tensor, class_similarity) -> dict:
    """Coverage, average set size and set coherence of prediction sets `[N, C]`."""
    coverage, size = coverage_and_size(sets, labels)
    return {
        "Coverage": coverage,
        "Average set size": size,
        "Set coherence": None if class_similarity is None else set_coherence(sets, class_similarity),
    }


def coverage_and_size(sets: Tensor, labels: Tensor) -> tuple[float, float]:
    """Share of prediction sets `[N, C]` that hold the true class, and their average number of classes."""
    return covered(sets, labels).mean().item(), sets.sum(dim=1).double().mean().item()


def covered(sets: Tensor, labels: Tensor) -> Tensor:
    """Whether each set holds the true class, `[N]`, 0 or 1."""
    return sets.gather(1, labels[:, None]).squeeze(1).double()


def compare_methods(by_name: dict, test: FeatureTable, coverages, class_similarity=None) -> dict:
    """Results of every method for every coverage: `{method: {coverage: set_results}}`.

    Args:
        test: images to predict, none of them used for calibration.
        coverages: targeted coverages, fractions.
        class_similarity: `[C, C]` for the set coherence, if the dataset knows it.
    """
    results = {}
    for name, method in by_name.items():
        all_sets = method.predict_each(test.features, test.logits, coverages)
        results[name] = {
            f"{coverage:g}": set_results(sets, test.labels, class_similarity)
            for coverage, sets in zip(coverages, all_sets, strict=True)
        }
    return results


def coverage_per_class(sets: Tensor, labels: Tensor) -> Tensor:
    """Share of each class's images whose set holds it, `[C]`; nan for classes without images."""
    counts = labels.bincount(minlength=sets.shape[1])
    return labels.bincount(covered(sets, labels), minlength=sets.shape[1]) / counts
