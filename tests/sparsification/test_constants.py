"""A, R and b against the published implementation, and where it divides by zero."""

import numpy as np
import pytest
import torch
from sklearn.cluster import MeanShift

from sparsification.constants import (
    class_feature_correlation,
    feature_redundancy,
    locality_bias,
    locality_statistics,
    locality_sums,
    overlap_sums,
    place_redundancy,
)
from sparsification.mean_shift import mean_shift

CASES = [1, 2]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("constant", "inputs", "output", "tolerance"),
    [
        (class_feature_correlation, ["features", "labels"], "A", 1e-6),
        (feature_redundancy, ["A"], "R", 1e-6),
        (locality_bias, ["locality", "edge"], "bias", 1e-5),
    ],
)
def test_constants_are_the_published_ones(golden, constant, inputs, output, tolerance, case):
    data = golden(f"{constant.__name__}_{case}")
    found = constant(*(torch.from_numpy(data[f"in_{name}"]) for name in inputs))
    np.testing.assert_allclose(found, data[f"out_{output}"], atol=tolerance)


def test_constant_features_correlate_with_nothing():
    features = torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]])
    A = class_feature_correlation(features, torch.tensor([0, 1, 1]))
    assert torch.isfinite(A).all()
    assert (A[0] == 0).all() and (A[1] != 0).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_feature_that_is_not_finite_is_not_taken_for_a_constant_one(value):
    A = class_feature_correlation(torch.tensor([[0.1, 1.0], [value, 2.0], [0.3, 3.0]]), torch.tensor([0, 1, 1]))
    assert A.isnan().all()


@pytest.mark.parametrize("draw", ["normal", "exponential", "two groups", "repeated", "mostly 0"])
def test_mean_shift_finds_the_clusters_of_scikit_learn(draw):
    generator = np.random.default_rng(0)
    for n in (2, 3, 11, 40, 80):
        normal, uniform = generator.normal(size=n), generator.random(n)
        values = {
            "normal": normal,
            "exponential": generator.exponential(size=n),
            "two groups": normal + 6 * (uniform < 0.4),
            "repeated": np.repeat(normal, 3),
            "mostly 0": np.where(uniform < 0.6, 0.0, normal),
        }[draw]
        assert np.array_equal(mean_shift(values), MeanShift().fit_predict(values[:, None]))


def test_mean_shift_of_few_different_values_gives_each_its_cluster():
    # More than 30 % of every value: the bandwidth is 0.
    values = np.repeat([0.1, 0.3, 0.7], 7)
    assert mean_shift(values).tolist() == [2] * 7 + [1] * 7 + [0] * 7


def test_locality_bias_of_equal_features_is_zero():
    assert (locality_bias(torch.full((6,), 0.3), torch.zeros(6)) == 0).all()
    # Four of five features are dead: pulled into their range, all are equal.
    mostly_dead = torch.cat([torch.zeros(40), torch.linspace(0.1, 0.6, 10)])
    assert (locality_bias(mostly_dead, -mostly_dead) == 0).all()


@pytest.mark.parametrize("case", CASES)
def test_locality_statistics_are_the_published_ones(golden, case):
    data = golden(f"locality_raw_{case}")
    maps, pooled = torch.from_numpy(data["in_feature_maps"]), torch.from_numpy(data["in_pooled"])
    locality, edge = locality_statistics(maps, pooled)
    np.testing.assert_allclose(locality, data["out_locality"], atol=1e-6)
    np.testing.assert_allclose(edge, data["out_edge"], atol=1e-4)


def test_locality_statistics_do_not_depend_on_the_batches():
    maps = torch.rand(10, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    pooled = maps.mean(dim=(2, 3))
    sums = sum(locality_sums(maps[rows], pooled[rows]) for rows in (slice(0, 7), slice(7, 10)))
    locality, edge = locality_statistics(maps, pooled)
    np.testing.assert_allclose(locality, sums[0] / 10, rtol=1e-6)
    np.testing.assert_allclose(edge, sums[1], rtol=1e-6)


def test_features_are_redundant_by_place_if_one_is_only_seen_where_the_other_is():
    # Two images. Feature 1 is seen where feature 0 is, in one image of two; feature 2 elsewhere; 3 never beside 1.
    pooled = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0]])
    left, right = [0.5, 0.2], [0.5, 0.8]
    peaks = torch.tensor([[left, left, right, left]] * 2)
    redundancy = place_redundancy(overlap_sums(peaks, pooled))
    assert redundancy.tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
