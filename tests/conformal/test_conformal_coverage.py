"""The distribution of the empirical coverage over random splits, against the law that theory gives."""

import numpy as np
import pytest
import torch
from test_conformal import random_model, random_table

from conformal import METHODS, HierarchicalPredictor
from conformal.coverage_law import coverage_law, law_p_value

SPLITS, CALIBRATION, TEST = 1000, 200, 300
COVERAGES = [0.88, 0.9, 0.925, 0.95]


@pytest.fixture(scope="module")
def pool():
    """Weights and a table of images on which the classifier is right less often than any coverage asks for."""
    rng = np.random.default_rng(1)
    weight = random_model(rng)
    return weight, [torch.as_tensor(x) for x in random_table(rng, weight, CALIBRATION + TEST, 1.2)]


def covered_counts(predictor_of_seed, table, coverages):
    """Number of covered test images at every coverage, for every random split: `{coverage: [SPLITS]}`."""
    generator = torch.Generator().manual_seed(0)
    counts = {coverage: [] for coverage in coverages}
    for seed in range(SPLITS):
        shuffled = torch.randperm(len(table[0]), generator=generator)
        calibration, test = shuffled[:CALIBRATION], shuffled[CALIBRATION:]
        predictor = predictor_of_seed(seed).calibrate(*(x[calibration] for x in table))
        features, logits, labels = (x[test] for x in table)
        predicted = predictor.predict_each(features, logits, coverages)
        for coverage, sets in zip(coverages, predicted, strict=True):
            counts[coverage].append(int(sets[range(TEST), labels].sum()))
    return {coverage: np.array(covered) for coverage, covered in counts.items()}


def p_value(counts, coverage, always_covered=0):
    return law_p_value(counts, coverage_law(CALIBRATION, TEST, coverage, always_covered))


@pytest.fixture(scope="module")
def exact_counts(pool):
    weight, table = pool
    return covered_counts(lambda _: HierarchicalPredictor(weight), table, COVERAGES)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_coverage_of_exact_sets_has_the_beta_binomial_law(exact_counts, coverage):
    assert p_value(exact_counts[coverage], coverage) > 1e-3


def test_coverage_has_the_law_without_relu_too(pool):
    weight, (_, _, labels) = pool
    rng = np.random.default_rng(2)
    features = torch.as_tensor(weight[labels] * 1.5 + 1.2 * rng.normal(size=(len(labels), 14)))
    table = [features, features @ torch.as_tensor(weight).T, labels]
    counts = covered_counts(lambda _: HierarchicalPredictor(weight), table, [0.9])
    assert p_value(counts[0.9], 0.9) > 1e-3


def test_the_law_is_told_from_its_neighbours(exact_counts):
    counts = exact_counts[0.9]
    assert p_value(counts, 0.91) < 1e-6  # a wrong coverage
    assert p_value(np.round(counts.mean() + (counts - counts.mean()) / 2), 0.9) < 1e-6  # too narrow


@pytest.mark.parametrize("method", [m for m in METHODS if not m.hierarchical], ids=lambda method: method.name)
def test_coverage_of_every_other_method_has_the_law(pool, method):
    weight, table = pool
    counts = covered_counts(lambda seed: method.make(weight, seed), table, [0.9])
    assert p_value(counts[0.9], 0.9) > 1e-3


def test_the_law_of_a_classifier_that_is_right_more_often_than_asked():
    rng = np.random.default_rng(0)
    weight = random_model(rng)
    table = [torch.as_tensor(x) for x in random_table(rng, weight, CALIBRATION + TEST, noise=0.6)]
    predictor = HierarchicalPredictor(weight).calibrate(*table)
    always_covered = int(predictor.predict(*table[:2], 0.01)[range(500), table[2]].sum())
    assert 0.88 < always_covered / 500 < 0.95
    for coverage, counts in covered_counts(lambda _: predictor, table, [0.8, 0.9, 0.925]).items():
        assert p_value(counts, coverage, always_covered) > 1e-3
        assert p_value(counts, coverage) < 1e-6 or coverage > 0.92  # not the law without the atom


def test_the_law_is_a_law():
    for always_covered in (0, 200, 400, 450, 500):
        law = coverage_law(CALIBRATION, TEST, 0.9, always_covered)
        assert law.sum() == pytest.approx(1) and (law >= 0).all()
        assert (law @ np.arange(TEST + 1)) / TEST >= 0.9
    assert coverage_law(9, 3, 0.95).tolist() == [0, 0, 0, 1]
