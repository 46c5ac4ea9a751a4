"""Sparse linear paths: optimal, at least as good as glm-saga, one feature at a time."""

import sys

import numpy as np
import pytest
import torch
from refusals import refused
from sklearn.linear_model import LogisticRegression

from configs.errors import RunError, UsageError
from sparsification.glm import choose_features, fit_qsenn, fit_sldd, newton, regularisation_path
from sparsification.glm import path as path_module
from sparsification.glm.datafit import CrossEntropy
from sparsification.glm.newton import ProximalNewton
from sparsification.glm.penalty import ElasticNet


def problem(n_samples=240, n_features=12, n_classes=4):
    """Correlated features, some of which depend on the class; labels in no order."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n_samples) % n_classes)
    centres = rng.normal(size=(n_classes, n_features)) * (rng.random(n_features) < 0.6)
    features = centres[labels] + rng.normal(size=(n_samples, n_features))
    mixing = np.eye(n_features) + 0.3 * rng.normal(size=(n_features, n_features))
    return np.maximum(features @ mixing + 1, 0) * rng.uniform(0.1, 10, n_features), labels


@pytest.fixture(scope="module")
def solved():
    """Features, labels and their 100-point path."""
    features, labels = problem()
    return features, labels, regularisation_path(features, labels)


def standardise(features):
    spread = features.std(0, ddof=1)
    return (features - features.mean(0)) / np.where(spread > 0, spread, 1)


def objective(features, labels, weight, bias, strength, alpha=0.99):
    """The documented objective, written out."""
    weight, bias = np.asarray(weight, float), np.asarray(bias, float)
    logits = standardise(features) @ weight.T + bias
    top = logits.max(1, keepdims=True)
    loss = np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(labels)), labels]
    l1, l2 = np.abs(weight).sum(), (weight**2).sum() / 2
    return loss.mean() + strength * (alpha * l1 + (1 - alpha) * l2)


def test_path_agrees_with_scikit_learn(solved):
    features, labels, path = solved
    for member in (20, 50, 90):
        strength = path.lambdas[member].item()
        reference = LogisticRegression(
            solver="saga", l1_ratio=0.99, C=1 / (strength * len(labels)), tol=1e-8, max_iter=20_000
        ).fit(standardise(features), labels)
        ours = objective(features, labels, path.weights[member], path.biases[member], strength)
        theirs = objective(features, labels, reference.coef_, reference.intercept_, strength)
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_path_meets_the_optimality_conditions(solved):
    features, labels, path = solved
    x, targets = standardise(features), np.eye(4)[labels]
    for weight, bias, strength in zip(*(np.asarray(part) for part in path), strict=True):
        exponentials = np.exp(x @ weight.T + bias)
        residual = exponentials / exponentials.sum(1, keepdims=True) - targets
        gradient = residual.T @ x / len(x) + 0.01 * strength * weight
        slope = 0.99 * strength
        assert np.abs(residual.mean(0)).max() <= 2e-3 * slope
        assert np.abs(gradient).max() <= slope * 1.002
        active = weight != 0
        np.testing.assert_allclose(gradient[active], -slope * np.sign(weight[active]), atol=2e-3 * slope)


def test_path_begins_empty_and_spans_a_thousandth(solved):
    path = solved[2]
    assert path.weights.shape == (100, 4, 12) and path.biases.shape == (100, 4)
    assert (path.weights[0] == 0).all() and (path.weights[1] != 0).any()
    assert path.lambdas[-1] / path.lambdas[0] == pytest.approx(1e-3)
    assert (path.lambdas.diff() < 0).all()


def test_biases_have_mean_zero():
    features, labels = problem()
    frequent = np.concatenate([np.arange(len(labels)), np.flatnonzero(labels == 0)])
    path = regularisation_path(features[frequent], labels[frequent], lambdas=[1.0, 0.01])
    np.testing.assert_allclose(path.biases.mean(1), 0, atol=1e-12)
    log_frequency = np.log([0.4, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(path.biases[0], log_frequency - log_frequency.mean(), atol=1e-9)


def test_at_least_as_good_as_glm_saga(solved):
    features, labels, path = solved
    some = slice(5, None, 19)
    lambdas = path.lambdas[some]
    published = regularisation_path(features, labels, solver="glm_saga", lambdas=lambdas)
    for strength, *layers in zip(lambdas.tolist(), path.weights[some], path.biases[some], *published[:2], strict=True):
        ours = objective(features, labels, *layers[:2], strength)
        theirs = objective(features, labels, *layers[2:], strength)
        assert ours <= theirs + 1e-9
        assert theirs <= ours + 0.02  # and they minimise the same thing


def test_glm_saga_chooses_the_same_first_features():
    features, labels = problem(n_samples=120)
    ours = choose_features(features, labels, 2)
    assert choose_features(features, labels, 2, solver="glm_saga").tolist() == ours.tolist()


def test_missing_glm_saga_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "glm_saga.elasticnet", None)
    with refused(UsageError, match=r"pip install glm-saga==0\.1\.2"):
        choose_features(*problem(), 3, solver="glm_saga")


def test_nearly_collinear_noise_is_solved_in_a_few_rounds(monkeypatch, caplog):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(400) % 40)
    features = rng.normal(size=(400, 1)) + 0.05 * rng.normal(size=(400, 20))
    datafit, penalty = (CrossEntropy(torch.as_tensor(features), torch.as_tensor(labels)), ElasticNet(0.99))
    solver, coefficients = ProximalNewton(), datafit.start()
    largest = penalty.smallest_empty_strength(datafit.value_and_gradient(coefficients)[1])
    # Proximal steps of one length for all weights, which know of no correlation, need 33 to 53 rounds.
    monkeypatch.setattr(newton, "MAX_ROUNDS", 15)
    for strength in (0.285 * largest, 0.152 * largest, 0.081 * largest):
        coefficients = solver.minimise(datafit, penalty, strength, coefficients)
        _, gradient = datafit.value_and_gradient(coefficients)
        assert penalty.violation(coefficients, gradient, strength) <= 1e-4
    assert (coefficients[:, :-1] != 0).sum() > 20
    assert not caplog.records


def test_the_solver_stays_on_the_device_of_its_data():
    features, labels = problem(n_samples=60)
    datafit = CrossEntropy(torch.as_tensor(features), torch.as_tensor(labels))
    start = datafit.start()
    for grouped in (False, True):
        with torch.device("meta"):  # what is made without naming a device lands elsewhere: an error
            solution = ProximalNewton().minimise(datafit, ElasticNet(0.9, grouped), 0.05, start)
        assert solution.device == start.device and (solution[:, :-1] != 0).any()


def test_grouped_penalty_meets_its_optimality_conditions():
    features, labels = problem()
    x, targets = standardise(features), np.eye(4)[labels]
    datafit = CrossEntropy(torch.as_tensor(x), torch.as_tensor(labels))
    strength, penalty = 0.05, ElasticNet(alpha=0.8, grouped=True)
    solution = ProximalNewton().minimise(datafit, penalty, strength, datafit.start()).numpy()
    weight, bias = solution[:, :-1], solution[:, -1]
    exponentials = np.exp(x @ weight.T + bias)
    residual = exponentials / exponentials.sum(1, keepdims=True) - targets
    gradient = residual.T @ x / len(x) + 0.2 * strength * weight
    size = np.linalg.norm(weight, axis=0)
    active = size > 0
    assert 0 < active.sum() < 12
    assert (np.linalg.norm(gradient[:, ~active], axis=0) <= 0.8 * strength * 1.001).all()
    expected = -0.8 * strength * weight[:, active] / size[active]
    np.testing.assert_allclose(gradient[:, active], expected, atol=1e-3 * strength)


@pytest.mark.parametrize("grouped", [False, True])
def test_curvature_is_the_change_of_the_gradient(grouped):
    features, labels = problem()
    datafit = CrossEntropy(torch.as_tensor(standardise(features)), torch.as_tensor(labels))
    penalty = ElasticNet(alpha=0.8, grouped=grouped)
    generator = torch.Generator().manual_seed(0)
    at = torch.randn(4, 13, generator=generator, dtype=torch.float64)
    direction = torch.randn(4, 13, generator=generator, dtype=torch.float64)

    def gradient(coefficients):
        _, of_loss = datafit.value_and_gradient(coefficients)
        return of_loss + penalty.gradient(coefficients, 0.5)

    change = (gradient(at + 1e-6 * direction) - gradient(at - 1e-6 * direction)) / 2e-6
    curvature = datafit.curvature(at)
    of_loss = curvature.product(direction.float()).double()
    of_penalty = penalty.curvature_product(at, direction, 0.5)
    torch.testing.assert_close(of_loss + of_penalty, change, atol=1e-5, rtol=1e-4)
    unit = torch.zeros_like(at)
    unit[1, 3] = 1.0
    block = curvature.class_blocks()[1, 3, 3]
    product = curvature.product(unit.float())[1, 3]
    torch.testing.assert_close(block, product)
    diagonal = penalty.curvature_diagonal(at, 0.5)[1, 3]
    torch.testing.assert_close(diagonal, penalty.curvature_product(at, unit, 0.5)[1, 3])


@pytest.mark.parametrize("signal", ["constant", "equal means"])
def test_features_without_a_signal_are_one_clear_line(signal):
    features = np.ones((12, 6))
    if signal == "equal means":
        features[:, 0] = np.tile([0.1, 0.7], 6)
    with refused(RunError, match="say nothing about the classes"):
        fit_sldd(features, np.repeat(np.arange(3), 4), n_features=6, n_per_class=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_path_on_a_gpu(solved):
    features, labels, path = solved
    strengths = path.lambdas[[20, 60]]
    there = regularisation_path(torch.as_tensor(features).cuda(), labels, lambdas=strengths)
    assert there.weights.is_cuda
    here = objective(features, labels, path.weights[60], path.biases[60], strengths[1].item())
    weight, bias = there.weights[1].cpu(), there.biases[1].cpu()
    assert objective(features, labels, weight, bias, strengths[1].item()) == pytest.approx(here)


def test_features_enter_one_at_a_time():
    features, labels = problem()
    features[:, 7] = 3 * features[:, 2] + 1  # equal after standardising: both pull equally
    all_entered = choose_features(features, labels, 9).tolist()
    assert len(set(all_entered)) == 9
    for n_features in (1, 2, 5):
        assert choose_features(features, labels, n_features).tolist() == all_entered[:n_features]


def test_lambda_starts_at_a_tenth_and_again_there_after_every_feature(monkeypatch):
    features, labels = problem()
    met = []

    class Recorder(ProximalNewton):
        def minimise(self, datafit, penalty, strength, start):
            met.append((start.shape[1] - 1, strength))
            return super().minimise(datafit, penalty, strength, start)

    monkeypatch.setitem(path_module.SOLVERS, "newton", Recorder)
    choose_features(features, labels, 5)
    datafit = CrossEntropy(torch.as_tensor(features), torch.as_tensor(labels))
    _, gradient = datafit.value_and_gradient(datafit.start())
    largest = path_module.SELECTION_PENALTY.smallest_empty_strength(gradient)
    first = {}
    for count, strength in met:
        first.setdefault(count, strength)
    assert first == pytest.approx(dict.fromkeys(range(1, 5), 0.1 * float(largest)))


def test_informative_features_are_chosen():
    rng = np.random.default_rng(1)
    labels = np.arange(300) % 6
    features = rng.normal(size=(300, 40))
    informative = [3, 17, 22, 31, 39]
    features[:, informative] += 2 * rng.normal(size=(6, 5))[labels]
    assert sorted(choose_features(features, labels, 5).tolist()) == informative


def test_constant_features_are_never_chosen_and_carry_no_weight():
    features, labels = problem()
    features[:, [0, 5]] = [[0.0, 3.7]]
    assert not {0, 5} & set(choose_features(features, labels, 10).tolist())
    with pytest.raises(RunError, match="10 of 12 vary"):
        choose_features(features, labels, 11)
    assert (regularisation_path(features, labels).weights[:, :, [0, 5]] == 0).all()


def test_fewer_samples_than_features():
    features, labels = problem(n_samples=12, n_features=30)
    assert len(set(choose_features(features, labels, 25).tolist())) == 25
    assert regularisation_path(features, labels, lambdas=[0.1, 0.01]).weights.isfinite().all()


@pytest.mark.parametrize("fit", [fit_qsenn, fit_sldd])
def test_fit_gives_a_sparse_layer_that_classifies(fit):
    features, labels = problem(n_samples=120, n_features=20)
    features = torch.tensor(features, dtype=torch.float32)
    layer = fit(features, labels, n_features=10, n_per_class=3)
    assert layer.weight.shape == (4, 10) and layer.weight.dtype == torch.float32
    assert (layer.weight != 0).sum() == 4 * 3
    assert (layer.selection.diff() > 0).all()
    standardised = (features[:, layer.selection] - layer.mean) / layer.std
    torch.testing.assert_close(standardised.std(0), torch.ones(10))
    logits = standardised @ layer.weight.T + layer.bias
    assert (logits.argmax(1).numpy() == labels).mean() > 0.6
    again = fit(features, labels, n_features=10, n_per_class=3)
    assert all((value == vars(again)[name]).all() for name, value in vars(layer).items())


@pytest.mark.parametrize("fit", [fit_qsenn, fit_sldd])
def test_separable_data_still_give_all_weights(fit):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    features = rng.normal(size=(60, 8))
    features[np.arange(60), labels] += 20  # one feature tells a class: a sparse path needs no more
    layer = fit(features, labels, n_features=8, n_per_class=4)
    assert (layer.weight != 0).sum() == 6 * 4
    standardised = (torch.as_tensor(features) - layer.mean) / layer.std
    logits = standardised @ layer.weight.T + layer.bias
    assert (logits.argmax(1).numpy() == labels).mean() > 0.9


def test_a_refit_keeps_all_its_features():
    layer = fit_qsenn(*problem(), n_features=12, n_per_class=3)
    assert layer.selection.tolist() == list(range(12))
    assert layer.weight.unique().numel() == 3  # -a, 0, a


@pytest.mark.parametrize(
    ("features", "labels", "error", "message"),
    [
        (np.ones((4, 2, 2)), [0, 1, 0, 1], ValueError, r"\[N, F\]"),
        (np.ones((4, 2)), [0, 1, 0], ValueError, r"\[N, F\]"),
        (np.full((4, 2), np.nan), [0, 1, 0, 1], RunError, "finite"),
        (np.eye(4), [0, 2, 0, 2], RunError, "no training image of class 1"),
        (np.eye(4), [0, 0, 0, 0], RunError, "two classes"),
    ],
)
def test_unusable_input_is_refused(features, labels, error, message):
    with pytest.raises(error, match=message):
        regularisation_path(features, labels)


def test_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="newton, glm_saga"):
        regularisation_path(*problem(), solver="lars")
