"""Which comparisons of classes come first."""

import numpy as np

from compare_classes import CompareFlags, chosen_comparisons


def test_pairs_that_are_alike_in_truth_come_first():
    weight = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 0, 1, 1]])
    similarity = np.full((4, 4), 0.5)
    similarity[1, 3] = similarity[3, 1] = 0.9
    flags, names = CompareFlags(), list("abcd")
    pairs = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]  # all that share one of two features
    assert chosen_comparisons(flags, weight, names, 2) == pairs
    ordered = chosen_comparisons(flags, weight, names, 2, similarity)
    assert ordered == [(1, 3), (0, 1), (0, 2), (1, 2), (2, 3)]
    asked = CompareFlags(classes=("d", "a"))
    assert chosen_comparisons(asked, weight, names, 2, similarity) == [(3, 0)]
