"""The baselines against MAPIE, a maintained conformal library."""

import numpy as np
import pytest
import torch
from mapie.classification import SplitConformalClassifier
from mapie.conformity_scores import APSConformityScore, LACConformityScore, RAPSConformityScore
from sklearn.base import BaseEstimator, ClassifierMixin

from conformal import thr
from conformal.quantiles import order_statistic
from conformal.scores.aps import aps_score
from conformal.scores.raps import raps_score

COVERAGES = [0.7, 0.88, 0.9, 0.95]
SEED = 7


class SoftmaxClassifier(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose inputs are logits."""

    def fit(self, logits, labels):
        self.classes_ = np.arange(logits.shape[1])
        return self

    def predict_proba(self, logits):
        return torch.from_numpy(logits).softmax(dim=1).numpy()

    def predict(self, logits):
        return logits.argmax(axis=1)


@pytest.fixture
def data():
    """Logits and labels of 400 calibration and 200 test samples of 10 classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=600)
    labels[:10] = labels[400:410] = range(10)
    logits = rng.normal(size=(600, 10)) + 2 * np.eye(10)[labels]
    return logits[:400], labels[:400], logits[400:]


def mapie_sets(data, score, **options):
    """Sets of MAPIE for all coverages, `[coverages, N, C]`, and its score object with the quantiles."""
    logits, labels, test = data
    mapie = SplitConformalClassifier(SoftmaxClassifier().fit(logits, labels), COVERAGES, score, random_state=SEED)
    mapie.conformalize(logits, labels)
    sets = mapie.predict_set(test, conformity_score_params=options)[1]
    return sets.transpose(2, 0, 1), mapie._mapie_classifier.conformity_score_function_


def uniform_draws(n):
    return torch.from_numpy(np.random.RandomState(SEED).uniform(size=(n, 1)))


def test_thr(data):
    logits, labels, test = data
    expected, score = mapie_sets(data, LACConformityScore())
    predictor = thr().calibrate(np.zeros((400, 1)), logits, labels)
    for coverage, sets, quantile in zip(COVERAGES, expected, score.quantiles_, strict=True):
        assert predictor.threshold(coverage) == pytest.approx(quantile)
        assert np.array_equal(predictor.predict(np.zeros((200, 1)), test, coverage), sets)


def test_aps(data):
    logits, labels, test = data
    expected, score = mapie_sets(data, APSConformityScore(), include_last_label=False)
    probabilities = torch.from_numpy(logits).softmax(dim=1)
    scores = aps_score(probabilities, 1 - uniform_draws(400))[range(400), labels]
    test_scores = aps_score(torch.from_numpy(test).softmax(dim=1), torch.ones(200, 1))
    for coverage, sets, quantile in zip(COVERAGES, expected, score.quantiles_, strict=True):
        assert order_statistic(scores, coverage) == pytest.approx(quantile)
        assert_equal_but_for_the_first_class(test_scores <= quantile, sets)


def test_raps(data):
    expected, score = mapie_sets(data, RAPSConformityScore(), include_last_label=False)
    test_probabilities = torch.from_numpy(data[2]).softmax(dim=1)
    for sets, quantile, free_rank, penalty in zip(
        expected, score.quantiles_, score.k_star, score.lambda_star, strict=True
    ):
        test_scores = raps_score(test_probabilities, torch.ones(200, 1), penalty=penalty, free_rank=free_rank)
        assert_equal_but_for_the_first_class(test_scores <= quantile, sets)


def assert_equal_but_for_the_first_class(ours, theirs):
    """MAPIE keeps the most probable class in a set that would otherwise be empty."""
    assert ours.any(dim=1).double().mean() > 0.5
    assert np.array_equal(ours[ours.any(dim=1)], theirs[ours.any(dim=1)])
    assert (theirs[~ours.any(dim=1)].sum(axis=1) <= 1).all()
