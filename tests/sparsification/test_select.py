"""What a run asks of the quadratic program."""

import numpy as np
import pytest
import torch

from configs.settings import parse_settings
from sparsification.features import DenseFeatures
from sparsification.qpm import SelectionProblem
from sparsification.qpm.published_threshold import published_threshold
from sparsification.select import program_of, quadratic_program


@pytest.fixture
def features():
    """Of 12 classes in 5 groups."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 8)
    means = rng.normal(size=(5, 30))[np.arange(12) % 5] + rng.normal(size=(12, 30))
    pooled = np.abs(means[labels] + 0.5 * rng.normal(size=(96, 30)))
    statistics = rng.random(30), -rng.random(30)
    return DenseFeatures(*(torch.as_tensor(x) for x in (pooled, labels, *statistics)))


def asked(*flags):
    """Settings of a small CHiQPM."""
    small = ("--n_features", "12", "--n_per_class", "3")
    return parse_settings(["--dataset", "CUB2011", "--seed", "0", "--certificate", "0", *small, *flags], "")[0]


def test_the_named_pairs_share_unless_any_may(features):
    problem = SelectionProblem(**program_of(asked(), features))
    named, others = (
        problem.count_named_pairs(quadratic_program(asked(*flags), features).weight.numpy())
        for flags in ((), ("--pairs", "any"))
    )
    assert others < named == problem.n_required_pairs == 6


def test_the_redundancy_threshold_is_found_given_or_the_published_one(features):
    found, given, published = (
        program_of(asked(*flags), features)
        for flags in ((), ("--redundancy_threshold", "0.3"), ("--redundancy_threshold", "published"))
    )
    assert (found["threshold"], given["threshold"]) == (None, 0.3)
    assert published["threshold"] == published_threshold(published["redundancy"], 12)
    assert SelectionProblem(**found).threshold <= published["threshold"]
