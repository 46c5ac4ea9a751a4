"""The tree of all classes: who is joined with whom, and which features stand beside the joints."""

import numpy as np

from visualization.class_tree import class_tree

WEIGHT = np.zeros((4, 6))
for row, features in zip(WEIGHT, ([0, 1, 2], [3, 4, 5], [0, 1, 5], [0, 4, 5]), strict=True):
    row[features] = 1
NAMES = ["crow", "gull", "raven", "tern"]


def drawn(weight):
    (axes,) = class_tree(weight, NAMES).axes
    leaves = [label.get_text() for label in axes.get_yticklabels()]
    return leaves, {text.get_text(): text.xy for text in axes.texts if text.get_text()}


def test_classes_stand_beside_those_that_share_most_and_joints_name_what_they_share():
    leaves, joints = drawn(WEIGHT)
    assert {frozenset(leaves[:2]), frozenset(leaves[2:])} == {frozenset(("crow", "raven")), frozenset(("gull", "tern"))}
    assert set(joints) == {"0, 1", "4, 5"}
    # One feature less than all three; in the middle of the two rows.
    row = (leaves.index("gull") + leaves.index("tern") + 1) / 2 * 10
    assert joints["4, 5"] == (1, row)


def test_a_feature_that_counts_for_one_class_and_against_another_is_not_shared():
    signed = WEIGHT.copy()
    signed[3, 4] = -1
    assert "4, 5" not in drawn(signed)[1]
    signed[1, 4] = -1
    assert "5, −4" in drawn(signed)[1]
