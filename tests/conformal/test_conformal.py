"""The hierarchy and prediction sets: golden cases (rows 10 and 11), properties of every method, and errors."""

import io
import logging
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.script import warn_once
from conformal import HierarchicalPredictor, aps, predictor, raps, thr
from conformal.hierarchy import branch_nonconformity, class_feature_indices, prediction_hierarchy, shared_prefix
from conformal.split import calibration_split

MODES = ["exact", "paper"]
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
        for name, calibrated in predictors.items():
            expected = g[f"out_{name}sets"][i].bool()
            if name == "":
                expected |= predicted
            assert torch.equal(calibrated.predict(*test, 1 - alpha), expected)
            assert calibrated.threshold(1 - alpha) == pytest.approx(float(g[f"out_{name}q_hat"][i]), abs=1e-6)
        assert predictors[""].level(1 - alpha) == g["out_level"][i]


@pytest.mark.parametrize("case", CASES)
def test_exact_baseline_is_the_higher_convention(golden, case):
    g = golden(f"hierarchy_conformal_{case}")
    predictor = thr().calibrate(g["in_cal_features"], g["in_cal_logits"], g["in_cal_labels"])
    for i, alpha in enumerate(g["in_alphas"]):
        sets = predictor.predict(g["in_test_features"], g["in_test_logits"], 1 - alpha)
        assert np.array_equal(sets, g["out_thr_sets_higher"][i])
        assert predictor.threshold(1 - alpha) == pytest.approx(g["out_thr_q_hat_higher"][i])


def random_model(rng, n_classes=12, n_features=14, n_per_class=4):
    """Binary weights in which many classes share all but one feature."""
    weight = np.zeros((n_classes, n_features))
    for row in weight:
        row[rng.choice(n_features, n_per_class, replace=False)] = 1
    weight[1::2] = weight[::2]
    for row in weight[1::2]:
        row[rng.choice(np.flatnonzero(row))] = 0
        row[rng.choice(np.flatnonzero(row == 0))] = 1
    return weight


def random_table(rng, weight, n_samples, noise=1.0):
    """Features after ReLU with many exact zeros, logits and labels of a fallible classifier."""
    labels = rng.integers(len(weight), size=n_samples)
    features = weight[labels] * 1.5 + noise * rng.normal(size=(n_samples, weight.shape[1])) - 0.5
    features = np.maximum(features, 0)
    return features, features @ weight.T, labels


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def calibrated_predictors(weight, mode, table):
    methods = [make(weight, mode) for make in (HierarchicalPredictor, thr, aps, raps)]
    return [method.calibrate(*table) for method in methods]


def branches(weight, activation, predicted, mode):
    """Branch of every class by its definition: its ordered features up to the one through which it leaves the path.

    In mode "exact", up to the one after it; there, features without activation are no nodes, as in the drawn tree.
    """
    beyond = 2 if mode == "exact" else 1
    orders = [
        tuple(
            f
            for f in sorted(np.flatnonzero(row), key=lambda f: (-activation[f], f))
            if activation[f] > 0 or mode == "paper"
        )
        for row in weight
    ]
    path = orders[predicted]
    depths = [max(d for d in range(len(path) + 1) if order[:d] == path[:d]) for order in orders]
    return [order[: depth + beyond] for order, depth in zip(orders, depths, strict=True)]


@pytest.mark.parametrize("mode", MODES)
@given(seed=st.integers(0, 2**32 - 1), coverage=st.floats(0.01, 0.99), unrelated=st.sampled_from([0, 1, 10]))
@settings(max_examples=40, deadline=None)
def test_sets_are_unions_of_branches_and_hold_the_prediction(mode, seed, coverage, unrelated):
    rng = np.random.default_rng(seed)
    weight = np.unique(random_model(rng), axis=0)
    features, logits, labels = random_table(rng, weight, 60)
    logits = logits + unrelated * rng.normal(size=logits.shape)
    hierarchical = HierarchicalPredictor(weight, mode)
    hierarchical.calibrate(features[:40], logits[:40], labels[:40])
    sets = hierarchical.predict(features, logits, coverage).numpy()
    for row, activation, predicted in zip(sets, features, logits.argmax(1), strict=True):
        assert row[predicted]
        members = defaultdict(set)
        branch = branches(weight, activation, predicted, mode)
        for member, path in zip(row, branch, strict=True):
            members[path].add(bool(member))
        assert all(len(answers) == 1 for answers in members.values())


def test_branches_are_ranked_by_the_mean_probability_of_their_classes():
    weight = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]])
    features, predicted = torch.tensor([[3.0, 2.0, 1.0, 0.0]]), torch.tensor([0])
    # Class 1 leaves behind feature 0 through 2, class 2 at the root through 1, 3 through 2, and 4 has nothing but 0.
    hierarchy = prediction_hierarchy(features, predicted, class_feature_indices(weight))
    logits = torch.tensor([[0.5, 0.2, 0.1, 0.15, 0.05]]).log()
    scores = branch_nonconformity(hierarchy, logits)
    torch.testing.assert_close(scores, torch.tensor([[0, 0.8, 0.9, 0.85, 0.95]]))
    # Classes 2, 3 and 4 leave at the root through feature 2; then 2 and 4 go on with feature 3, and class 3 with 4.
    weight = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1], [0, 0, 1, 1, 0]])
    features = torch.tensor([[3.0, 2.0, 1.0, 0.5, 0.2]])
    hierarchy = prediction_hierarchy(features, predicted, class_feature_indices(weight))
    expected = torch.tensor([[0, 0.8, 0.925, 0.85, 0.925]])
    torch.testing.assert_close(branch_nonconformity(hierarchy, logits), expected)


def test_exact_sets_follow_the_formula_class_by_class(rng):
    weight = random_model(rng)
    features, logits, labels = random_table(rng, weight, 200)

    def scores(activation, of_classes):
        probabilities = torch.as_tensor(of_classes).softmax(0).numpy()
        branch = branches(weight, activation, of_classes.argmax(), "exact")
        together = [[b == other for other in branch] for b in branch]
        path = together[of_classes.argmax()]
        return [
            0 if on_path else 1 - probabilities[classes].mean() for classes, on_path in zip(together, path, strict=True)
        ]

    table = np.array([scores(*row) for row in zip(features, logits, strict=True)])
    limit = np.sort(table[range(50), labels[:50]])[math.ceil(51 * 0.9) - 1]
    predictor = HierarchicalPredictor(weight).calibrate(features[:50], logits[:50], labels[:50])
    sets = predictor.predict(features[50:], logits[50:], 0.9).numpy()
    assert (sets == (table[50:] <= limit)).all() and limit > 0 and not sets.all()


@pytest.mark.parametrize("mode", MODES)
def test_features_without_relu_count_from_their_lowest_value(rng, mode):
    weight = random_model(rng)
    features, _, labels = random_table(rng, weight, 400)
    shifted = features - rng.uniform(1, 3, size=features.shape[1])
    logits = features @ weight.T
    plain = HierarchicalPredictor(weight, mode).calibrate(features[:200], logits[:200], labels[:200])
    moved = HierarchicalPredictor(weight, mode).calibrate(shifted[:200], logits[:200], labels[:200])
    for coverage in (0.7, 0.9):
        expected = plain.predict(features[200:], logits[200:], coverage)
        sets = moved.predict(shifted[200:], logits[200:], coverage)
        assert (sets == expected).double().mean() > 0.999  # but for rounding


@pytest.mark.parametrize("method", range(4))
def test_exact_sets_grow_with_the_coverage(rng, method):
    weight = random_model(rng)
    table = random_table(rng, weight, 300)
    chosen = calibrated_predictors(weight, "exact", table)[method]
    smaller = torch.zeros(300, len(weight), dtype=torch.bool)
    for coverage in np.linspace(0.05, 0.99, 30):
        sets = chosen.predict(table[0], table[1], coverage)
        assert (sets >= smaller).all()
        smaller = sets
    assert smaller.sum() > 2 * 300


@pytest.mark.parametrize("mode", MODES)
def test_saved_calibration_predicts_the_same(rng, mode):
    weight = random_model(rng)
    table = random_table(rng, weight, 200)
    predictor = HierarchicalPredictor(weight, mode).calibrate(*table)
    file = io.BytesIO()
    predictor.save(file)
    file.seek(0)
    loaded = HierarchicalPredictor.load(file)
    for coverage in (0.5, 0.9):
        sets = predictor.predict(*table[:2], coverage)
        assert torch.equal(loaded.predict(*table[:2], coverage), sets)
        assert loaded.threshold(coverage) == predictor.threshold(coverage)


@pytest.mark.parametrize("mode", MODES)
def test_chunks_do_not_change_sets(rng, mode, monkeypatch):
    weight = random_model(rng)
    table = random_table(rng, weight, 100)
    methods = calibrated_predictors(weight, mode, table)
    whole = [method.predict(*table[:2], 0.9) for method in methods]
    monkeypatch.setattr(predictor, "PAIRS_PER_CHUNK", 7 * len(weight))
    for method, sets in zip(calibrated_predictors(weight, mode, table), whole, strict=True):
        assert torch.equal(method.predict(*table[:2], 0.9), sets)


@pytest.mark.parametrize("mode", MODES)
def test_too_few_calibration_images_mean_full_sets_and_a_warning(rng, mode, caplog):
    weight = random_model(rng)
    features, logits, labels = random_table(rng, weight, 30)
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for method in calibrated_predictors(weight, mode, (features[:9], logits[:9], labels[:9])):
            assert method.predict(features, logits, 0.95).all()
    # All methods say the same, so it is said once.
    assert caplog.text.count("9 calibration images are too few for a coverage above 90 %") == 1


def test_equal_activations_are_ordered_by_feature_index():
    weight = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 1], [0, 1, 1, 1]])
    features, predicted = torch.tensor([[2.0, 2.0, 0.0, 0.0]]), torch.tensor([0])
    hierarchy = prediction_hierarchy(features, predicted, class_feature_indices(weight))
    # Orders: (0, 1, 2), (0, 2, 3), (1, 2, 3).
    assert hierarchy.depth.tolist() == [[3, 1, 0]]
    assert hierarchy.own.tolist() == [[0, 0, 2]]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.array([[1, 1, 0], [1, 0, 0]]), r"same number of features .*, found \[1, 2\]"),
        (np.zeros((2, 3)), r"same number .*found \[0\]"),
        (np.array([[0.5, 0.5]]), "binary class-feature weights"),
    ],
)
def test_other_weights_are_refused(weight, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalPredictor(weight)


def test_other_requests_are_refused(rng):
    weight = random_model(rng)
    features, logits, labels = random_table(rng, weight, 20)
    hierarchical = HierarchicalPredictor(weight)
    for method in (hierarchical, thr()):
        with pytest.raises(ValueError, match="calibrate the predictor first"):
            method.predict(features, logits, 0.9)
        with pytest.raises(ValueError, match=r"equal lengths, found \[19, 20\]"):
            method.calibrate(features, logits, labels[1:])
        with pytest.raises(ValueError, match="between 0 and 1, found 90"):
            method.calibrate(features, logits, labels).predict(features, logits, 90)
    with pytest.raises(ValueError, match=r"level must be in 0\.\.4, found 5"):
        hierarchical.nonconformity(features, logits, 5)
    with pytest.raises(ValueError, match="unknown mode 'best': choose one of paper, exact"):
        HierarchicalPredictor(weight, mode="best")


def test_calibration_images_are_drawn_per_class():
    labels = torch.tensor([0] * 50 + [1] * 13 + [3] * 2)[torch.randperm(65)]
    drawn, rest = calibration_split(labels, seed=3)
    assert labels[drawn].bincount().tolist() == [10, 6, 0, 1]  # never more than half of a class
    assert torch.equal(torch.cat([drawn, rest]).sort().values, torch.arange(65))
    assert torch.equal(drawn, calibration_split(labels, seed=3)[0])
    assert not torch.equal(drawn, calibration_split(labels, seed=4)[0])


def test_every_image_of_a_class_is_as_likely_to_calibrate():
    counts = torch.zeros(20)
    for seed in range(1000):
        counts[calibration_split(torch.zeros(20, dtype=int), seed, per_class=5)[0]] += 1
    assert (counts / 1000 - 0.25).abs().max() < 5 * (0.25 * 0.75 / 1000) ** 0.5


def test_where_no_class_has_two_test_images_half_of_all_calibrate():
    rows, rest = calibration_split(torch.arange(5), 1)
    assert (len(rows), len(rest)) == (2, 3) and not {*rows.tolist()} & {*rest.tolist()}
