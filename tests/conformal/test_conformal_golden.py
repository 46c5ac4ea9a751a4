"""The hierarchy and its calibration against the golden cases, rows 10 and 11."""

import numpy as np
import pytest
import torch

from conformal import HierarchicalPredictor, thr
from conformal.hierarchy import class_feature_indices, prediction_hierarchy, shared_prefix

CASES = [1, 2]


@pytest.mark.parametrize("case", CASES)
def test_hierarchy_of_every_class(golden, case):
    g = golden(f"hierarchy_scores_{case}")
    features, logits = torch.from_numpy(g["in_features"]), torch.from_numpy(g["in_logits"])
    hierarchy = prediction_hierarchy(features, logits.argmax(dim=1), class_feature_indices(g["in_weight"]))
    assert np.array_equal(shared_prefix(hierarchy), g["out_shared_prefix"])

    predictor = HierarchicalPredictor(g["in_weight"], mode="paper")
    predictor.calibrate(g["in_features"], g["in_logits"], g["in_labels"])
    np.testing.assert_allclose(predictor.level_accuracies, g["out_total_accs"], atol=1e-12)
    for level, expected in enumerate(g["out_scores"]):
        np.testing.assert_allclose(predictor.nonconformity(features, logits, level), expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", CASES)
def test_sets_as_published_with_the_predicted_class_in_the_hierarchy(golden, case, dtype):
    g = {name: torch.from_numpy(np.asarray(x)) for name, x in golden(f"hierarchy_conformal_{case}").items()}
    calibration = g["in_cal_features"].to(dtype), g["in_cal_logits"].to(dtype), g["in_cal_labels"]
    test = g["in_test_features"].to(dtype), g["in_test_logits"].to(dtype)
    predicted = torch.nn.functional.one_hot(test[1].argmax(1), test[1].shape[1]).bool()
    predictors = {
        "": HierarchicalPredictor(g["in_weight"], mode="paper").calibrate(*calibration),
        "thr_": thr(mode="paper").calibrate(*calibration),
    }
    for i, alpha in enumerate(g["in_alphas"].tolist()):
        for name, predictor in predictors.items():
            expected = g[f"out_{name}sets"][i].bool()
            if name == "":
                expected |= predicted
            assert torch.equal(predictor.predict(*test, 1 - alpha), expected)
            assert predictor.threshold(1 - alpha) == pytest.approx(float(g[f"out_{name}q_hat"][i]), abs=1e-6)
        assert predictors[""].level(1 - alpha) == g["out_level"][i]


@pytest.mark.parametrize("case", CASES)
def test_exact_baseline_is_the_higher_convention(golden, case):
    g = golden(f"hierarchy_conformal_{case}")
    predictor = thr().calibrate(g["in_cal_features"], g["in_cal_logits"], g["in_cal_labels"])
    for i, alpha in enumerate(g["in_alphas"]):
        sets = predictor.predict(g["in_test_features"], g["in_test_logits"], 1 - alpha)
        assert np.array_equal(sets, g["out_thr_sets_higher"][i])
        assert predictor.threshold(1 - alpha) == pytest.approx(g["out_thr_q_hat_higher"][i])
