"""Groups of alternatives: what one look of every part looks like from the classes alone."""

import numpy as np
import pytest
import torch

from dataset_classes.bird_parts import LOOKS
from dataset_classes.synthetic_birds import CLASS_PARTS, one_hot_looks
from sparsification.alternatives import (
    Group,
    _combined_freely,
    assign_alternatives,
    distinct_choices,
)

NAMES = [look for looks in LOOKS.values() for look in looks]
PER_CLASS = 5


def pooled_features(class_parts, missing, rng):
    """Features of every look but one, twice; of two looks of different parts together or of either; and of nothing."""
    looks = one_hot_looks(class_parts)
    known = np.delete(looks, NAMES.index(missing), axis=1)
    both = looks[:, [0]] * looks[:, 4:8]
    either = np.maximum(looks[:, :4], looks[:, 8:12])
    half = 0.5 * looks[:, [NAMES.index(missing)]]  # a feature that begins to see it
    columns = np.concatenate([known, known, both, either, half, 0 * half], axis=1)
    images = np.repeat(columns, PER_CLASS, axis=0)
    return torch.from_numpy(0.9 * images + 0.05 * rng.random(images.shape)), columns


@pytest.mark.parametrize("missing", ["cone", "rose"])
def test_every_look_becomes_a_column_also_one_that_no_feature_stands_for(missing):
    rng = np.random.default_rng(0)
    pooled, columns = pooled_features(CLASS_PARTS, missing, rng)
    labels = torch.arange(len(columns)).repeat_interleave(PER_CLASS)
    assigned = assign_alternatives(pooled, labels, 20, 5)
    selected, weight = assigned.features, assigned.weight
    looks = one_hot_looks(CLASS_PARTS)
    assert sorted(map(tuple, weight.T.tolist())) == sorted(map(tuple, looks.T.tolist()))
    assert len(set(selected.tolist())) == 20
    for feature, column in zip(selected.tolist(), weight.T.numpy(), strict=True):
        assert np.corrcoef(columns[:, feature], column)[0, 1] > 0.99


def test_two_classes_never_have_the_same_looks():
    """Of classes that seem alike, the surer one keeps its looks, and the other one gets what it has next."""
    first = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    second = torch.tensor([[0.9, 0.1], [0.9, 0.1], [1.0, 0.0]])
    assert distinct_choices([first, second]).tolist() == [[0, 0], [0, 1], [1, 0]]


def test_a_look_that_meets_only_one_look_of_another_group_is_of_the_same_part():
    """Four features of one group, three of another, in 16 classes: freely combined, or one within the first."""
    first = torch.eye(4).repeat_interleave(4, dim=0)
    free = torch.eye(4).repeat(4, 1)[:, :3]
    within = first[:, :1] * free[:, :1]  # of the first group's looks it meets one in four
    one, other = Group(0.0, (0, 1, 2, 3), None), Group(0.0, (4, 5, 6), None)
    assert _combined_freely(one, other, torch.cat([first, free], dim=1) > 0)
    dependent = torch.cat([first, within, free[:, 1:]], dim=1) > 0
    assert not _combined_freely(one, other, dependent)


def test_too_few_classes_show_no_alternatives():
    pooled, columns = pooled_features(CLASS_PARTS[:36], "cone", np.random.default_rng(0))
    labels = torch.arange(len(columns)).repeat_interleave(PER_CLASS)
    assert assign_alternatives(pooled, labels, 20, 5) is None


def test_other_numbers_of_features_are_left_to_the_program():
    pooled, columns = pooled_features(CLASS_PARTS, "cone", np.random.default_rng(0))
    labels = torch.arange(len(columns)).repeat_interleave(PER_CLASS)
    assert assign_alternatives(pooled, labels, 24, 5) is None
    assert assign_alternatives(pooled, labels, 20, 6) is None
