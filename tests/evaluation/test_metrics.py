"""Metrics against the golden cases, rows 12a-12h, and on inputs where they are known by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from architectures.activation_modes import activation_modes
from evaluation import metrics

CASES = [1, 2]


@pytest.mark.parametrize("as_array", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("name", "inputs", "output", "tolerance"),
    [
        ("sid_at_5", ["feature_maps", "logits", "weight"], "sid_at_5", 1e-5),
        ("class_independence", ["features", "labels", "n_classes"], "class_independence", 1e-5),
        ("feature_correlation", ["features"], "correlation", 1e-6),
        ("structural_grounding", ["weight", "class_similarity", "top"], "structural_grounding", 1e-5),
        ("contrastiveness", ["features"], "contrastiveness", 1e-2),
        ("set_coherence", ["sets", "class_similarity"], "set_coherence", 1e-6),
        ("dependence", ["features", "logits", "weight"], "dependence", 1e-6),
        ("attribute_alignment", ["features", "attribute_table"], "alignment", 1e-5),
    ],
)
def test_golden(golden, name, inputs, output, tolerance, case, as_array):
    g = golden(f"{name}_{case}")
    arguments = [g[f"in_{key}"] for key in inputs]
    arguments = [int(x) if x.ndim == 0 else as_array(x) for x in arguments]
    metric = getattr(metrics, {"sid_at_5": "sid_at_k"}.get(name, name))(*arguments)
    assert isinstance(metric, float)
    assert metric == pytest.approx(float(g[f"out_{output}"]), abs=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_activation_modes_golden(golden, case):
    g = golden(f"contrastiveness_{case}")
    modes = activation_modes(g["in_features"])
    np.testing.assert_allclose(modes.overlap(), g["out_overlap"], atol=2e-2)
    np.testing.assert_allclose(modes.active_mean, g["out_active_mean"], atol=1e-1)


def test_activation_modes_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    present = rng.random((2000, 6)) < np.linspace(0.1, 0.6, 6)
    features = np.where(present, rng.normal(4, 1, present.shape), rng.normal(0, 1, present.shape))
    features = np.maximum(features, 0)  # as after ReLU
    modes = activation_modes(features)
    for f in range(6):
        mixture = GaussianMixture(2, random_state=0).fit(features[:, [f]])
        order = mixture.means_[:, 0].argsort()
        np.testing.assert_allclose(modes.means[f], mixture.means_[order, 0], atol=5e-2)
        deviations = np.sqrt(mixture.covariances_[order, 0, 0])
        np.testing.assert_allclose(modes.deviations[f], deviations, atol=5e-2)


def test_alignment_matrix_golden(golden):
    g = golden("attribute_alignment_1")
    matrix = metrics.alignment_matrix(g["in_features"], g["in_attribute_table"])
    np.testing.assert_allclose(matrix, g["out_metric_matrix"], atol=1e-9)


def test_features_that_stare_at_one_place_have_the_least_diversity():
    maps = torch.zeros(1, 5, 4, 4)
    maps[:, :, 1, 2] = 100.0
    maps_apart = torch.zeros(1, 5, 4, 4)
    maps_apart.view(1, 5, 16)[0, range(5), range(5)] = 100.0
    logits, weight = torch.ones(1, 1), torch.ones(1, 5)
    assert metrics.sid_at_k(maps, logits, weight) == pytest.approx(1 / 5, abs=1e-4)
    assert metrics.sid_at_k(maps_apart, logits, weight) == pytest.approx(1, abs=1e-4)


def test_constant_features():
    features = torch.full((8, 3), 2.0)
    labels = torch.arange(8) % 2
    assert metrics.contrastiveness(features) == pytest.approx(0, abs=1e-9)
    assert metrics.class_independence(features, labels, 2) == 1
    assert metrics.feature_correlation(features) == pytest.approx(1)
    assert activation_modes(features).active_mean.tolist() == pytest.approx([2, 2, 2])


def test_silent_features():
    features = torch.zeros(4, 3)
    assert metrics.feature_correlation(features) == 0
    assert math.isnan(metrics.dependence(features, torch.eye(4), torch.ones(4, 3)))


def test_one_class_has_no_pairs():
    assert math.isnan(metrics.structural_grounding(torch.ones(1, 3), torch.zeros(1, 1)))
    assert math.isnan(metrics.set_coherence(torch.ones(5, 1), torch.zeros(1, 1)))


def test_attributes_of_other_images_are_refused():
    table = np.array([[1, 1, 1, 4], [2, 1, 0, 4]])
    with pytest.raises(ValueError, match="3 rows of features, 2 images"):
        metrics.attribute_alignment(np.ones((3, 2)), table)


def test_two_modes_need_two_samples():
    with pytest.raises(ValueError, match="at least 2 samples"):
        activation_modes(torch.ones(1, 4))
