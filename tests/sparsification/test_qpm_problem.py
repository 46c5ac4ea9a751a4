"""The problem of feature selection and its parts: rules, pairs, subsets and thresholds, against brute force."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from selection_problems import LARGE, SMALL, instance_problem, random_problem

from configs.errors import RunError, UsageError
from sparsification.constants import class_feature_correlation, feature_redundancy
from sparsification.qpm import SelectionProblem, assignment, most_similar_pairs, sharing_pairs, solve
from sparsification.qpm import published_threshold as published_threshold_module
from sparsification.qpm import threshold as threshold_module
from sparsification.qpm.assignment import distinct_subsets, ranked_subsets
from sparsification.qpm.published_threshold import published_threshold
from sparsification.qpm.threshold import redundancy_threshold


@pytest.mark.parametrize("name", SMALL + LARGE)
def test_objective_and_rules_agree_with_the_reference_solutions(qp_instance, name):
    case = qp_instance(name)
    problem = instance_problem(case)
    reference = case["optimum"] if "optimum" in case else case["best_known"]
    assert problem.objective(case["selected"], case["weight"]) == pytest.approx(reference, rel=1e-7)
    assert problem.violations(case["selected"], case["weight"]) == []


def test_of_two_classes_rounding_decides_nothing():
    """Every row of A is (a, -a) up to its last digits, so all redundancies are 1 or 0."""
    rng = np.random.default_rng(0)
    features, labels = torch.from_numpy(rng.random((60, 30))), torch.arange(60) % 2
    order = torch.from_numpy(rng.permutation(60))
    selections = []
    for rows in (slice(None), order):
        correlation = class_feature_correlation(features[rows], labels[rows])
        redundancy = feature_redundancy(correlation).numpy()
        problem = SelectionProblem(correlation.numpy(), redundancy, np.zeros(30), 8, 3)
        assert not problem.penalty.any()
        selections.append(solve(problem))
    first, second = selections
    np.testing.assert_array_equal(first.selected, second.selected)
    best_three = np.sort(correlation.numpy(), axis=0)[-3:].sum()
    assert first.objective == pytest.approx(1000 / 6 * best_three)


def test_objective_by_hand():
    correlation = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 0.5]])
    redundancy = np.array([[0.0, 0.2, 0.6], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    problem = SelectionProblem(correlation, redundancy, [0.1, 0.2, 0.4], n_features=3, n_per_class=1, threshold=0.5)
    weight = np.array([[1, 0, 0], [0, 1, 0]])
    # 1000 / (1 * 2) * (1 + 1) - (0.6 - 0.2) / 0.8 - (1.0 - 0.2) / 0.8 + 0.7
    assert problem.objective([0, 1, 2], weight) == pytest.approx(1000 - 0.5 - 1.0 + 0.7)


def test_symmetric_redundancy_means_the_same_as_its_upper_triangle():
    problem = random_problem(0)
    both = problem.redundancy + problem.redundancy.T
    twin = SelectionProblem(problem.correlation, both, problem.bias, 5, 2, threshold=0.5)
    np.testing.assert_array_equal(twin.penalty, problem.penalty)


def test_every_broken_rule_is_named():
    problem = random_problem(1, rho=0.5)
    weight = np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]])
    text = " ".join(problem.violations([0, 1, 2, 3, 3], weight))
    for part in (
        "4 different features instead of 5",
        "1 classes do not use exactly 2",
        "1 classes repeat",
        "1 pairs of classes share exactly 1 features instead of at least 2",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("n_features", "n_per_class", "error", "message"),
    [
        (10, 2, UsageError, "the model has 9 features"),
        (2, 3, UsageError, "choose 1 <= n_per_class"),
        (3, 2, UsageError, "describe 3 classes at most"),
    ],
)
def test_impossible_numbers_are_refused(n_features, n_per_class, error, message):
    with pytest.raises(error, match=message):
        random_problem(0, n_features=n_features, n_per_class=n_per_class)


@pytest.mark.parametrize("rho", [-0.25, 2.0])
def test_more_pairs_than_the_classes_form_are_refused(rho):
    with pytest.raises(UsageError, match="pairs of 4 classes, choose 0 to 6"):
        random_problem(0, rho=rho)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "correlation is not finite"), (1e9, "as large as 1e\\+09")])
def test_inputs_beyond_what_solvers_can_tell_apart_are_refused(value, message):
    with pytest.raises(RunError, match=message):
        SelectionProblem(np.full((4, 2), value), np.zeros((4, 4)), np.zeros(4), 3, 1)


@pytest.mark.parametrize("number", [1, 2])
def test_class_pairs_match_the_published_ones(golden, number):
    case = golden(f"class_pairs_{number}")
    count = len(case["out_similar_pairs"])
    found = most_similar_pairs(case["in_A"], count)
    np.testing.assert_array_equal(found, case["out_similar_pairs"])
    pairs = sharing_pairs(case["in_weight"], int(case["in_min_shared"]))
    np.testing.assert_array_equal(pairs, case["out_sharing_pairs"].reshape(-1, 2))


def test_ranked_subsets_are_all_subsets_in_order():
    values = np.random.default_rng(0).normal(size=6)
    ranked = list(ranked_subsets(values, 3))
    assert {subset for _, subset in ranked} == set(combinations(range(6), 3))
    losses = [loss for loss, _ in ranked]
    assert losses == sorted(losses)
    best = sum(sorted(values)[-3:])
    for loss, subset in ranked:
        assert best - loss == pytest.approx(sum(values[list(subset)]))


@pytest.mark.parametrize("all_at_once", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_distinct_subsets_are_the_best_distinct_ones(seed, all_at_once, monkeypatch):
    monkeypatch.setattr(assignment, "MAX_SUBSETS", 6 if all_at_once else 0)
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.normal(size=(1, 4)), 5, axis=0) + 0.1 * rng.normal(size=(5, 4))
    subsets = distinct_subsets(values, 2)
    assert len({tuple(row) for row in subsets.tolist()}) == 5
    every = np.array(list(combinations(range(4), 2)))
    table = values[:, every].sum(axis=2)  # (5 classes, 6 subsets)
    best = max(table[range(5), list(order)].sum() for order in permutations(range(6), 5))
    assert np.take_along_axis(values, subsets, axis=1).sum() == pytest.approx(best)


@pytest.mark.parametrize("seed", range(4))
def test_threshold_is_the_smallest_one(seed):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((10, 10)), 1)
    redundancy = upper + upper.T
    threshold = redundancy_threshold(redundancy, 4)
    smallest = min(redundancy[np.ix_(s, s)].max() for s in map(list, combinations(range(10), 4)))
    assert threshold > smallest
    assert not ((upper > smallest) & (upper < threshold)).any()


def test_threshold_reaches_the_reference_on_the_large_instance(qp_instance, monkeypatch):
    case = qp_instance("large_qpm_512x196")
    assert instance_problem(case, threshold=None).threshold == pytest.approx(0.19348, abs=5e-6)
    monkeypatch.setattr(threshold_module, "SWAPS_PER_FEATURE", 5)
    monkeypatch.setattr(threshold_module, "MIN_SWAPS", 0)
    assert 0.19349 < instance_problem(case, threshold=None).threshold < 0.3  # what few swaps find


def test_published_threshold_is_the_known_one_above_ours(qp_instance):
    problem = instance_problem(qp_instance("large_qpm_stanford_cars_resnet18"))
    found = published_threshold(problem.redundancy, 50)
    assert found == pytest.approx(0.374, abs=5e-4)
    assert found > problem.threshold == pytest.approx(0.319, abs=5e-4)


def test_published_threshold_fails_clearly(qp_instance, monkeypatch):
    redundancy = instance_problem(qp_instance("qpm_00")).redundancy
    with pytest.raises(RunError, match="leave --redundancy_threshold out"):
        published_threshold(np.zeros_like(redundancy), 4)
    monkeypatch.setattr(published_threshold_module, "SECONDS", -1.0)
    with pytest.raises(RunError, match="has not ended"):
        published_threshold(redundancy, 4)
