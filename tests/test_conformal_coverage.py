"""The distribution of the empirical coverage over random splits, against the law that theory gives."""

import numpy as np
import pytest
import torch
from scipy.stats import betabinom, chisquare

from conformal import HierarchicalPredictor, aps, raps, thr
from tests.test_conformal import random_model, random_table

SPLITS, CALIBRATION, TEST = 1000, 200, 300
COVERAGES = [0.88, 0.9, 0.925, 0.95]


@pytest.fixture(scope="module")
def pool():
    """Weights and a table of images on which the classifier is right less often than any coverage asks for."""
    rng = np.random.default_rng(1)
    weight = random_model(rng)
    return weight, [torch.as_tensor(x) for x in random_table(rng, weight, CALIBRATION + TEST, 1.2)]


def covered_counts(predictor, table, coverage):
    """Number of covered test images, for every random split."""
    generator = torch.Generator().manual_seed(0)
    counts = []
    for _ in range(SPLITS):
        shuffled = torch.randperm(len(table[0]), generator=generator)
        calibration, test = shuffled[:CALIBRATION], shuffled[CALIBRATION:]
        predictor.calibrate(*(x[calibration] for x in table))
        features, logits, labels = (x[test] for x in table)
        sets = predictor.predict(features, logits, coverage)
        counts.append(int(sets[range(TEST), labels].sum()))
    return np.array(counts)


def p_value(counts, coverage, n_bins=12):
    """How well counts agree with the beta-binomial law of split-conformal coverage (chi-square test)."""
    rank = int(np.ceil((CALIBRATION + 1) * coverage - 1e-9))
    law = betabinom(TEST, rank, CALIBRATION + 1 - rank)
    edges = np.unique(law.ppf(np.arange(1, n_bins) / n_bins))
    observed = np.bincount(np.searchsorted(edges, counts), minlength=len(edges) + 1)
    expected = np.diff(law.cdf(edges), prepend=0, append=1) * SPLITS
    return chisquare(observed, expected).pvalue


@pytest.fixture(scope="module")
def exact_counts(pool):
    weight, table = pool
    return {c: covered_counts(HierarchicalPredictor(weight, "exact"), table, c) for c in COVERAGES}


@pytest.mark.parametrize("coverage", COVERAGES)
def test_coverage_of_exact_sets_has_the_beta_binomial_law(exact_counts, coverage):
    assert p_value(exact_counts[coverage], coverage) > 1e-3


def test_the_law_is_told_from_its_neighbours(exact_counts):
    counts = exact_counts[0.9]
    assert p_value(counts, 0.91) < 1e-6  # a wrong coverage
    assert p_value(np.round(counts.mean() + (counts - counts.mean()) / 2), 0.9) < 1e-6  # too narrow


@pytest.mark.parametrize("method", [thr, aps, raps])
def test_coverage_of_the_baselines_has_the_law(pool, method):
    _, table = pool
    assert p_value(covered_counts(method(), table, 0.9), 0.9) > 1e-3


def test_the_prediction_alone_may_cover_more_than_was_asked():
    rng = np.random.default_rng(0)
    weight = random_model(rng)
    features, logits, labels = random_table(rng, weight, 500, noise=0.5)
    accuracy = (logits.argmax(axis=1) == labels).mean()
    assert 0.92 < accuracy < 1
    predictor = HierarchicalPredictor(weight).calibrate(features, logits, labels)
    sets = predictor.predict(features, logits, 0.8).numpy()
    assert predictor.threshold(0.8) == 0
    assert sets[range(500), labels].mean() >= accuracy
    assert sets.sum(axis=1).mean() < 1.1
