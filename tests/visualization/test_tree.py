"""The explanation tree: structure against the golden cases, and its edge cases by hand."""

import numpy as np
import pytest
import torch

from visualization.tree import explanation_tree

KINDS = {"root": 0, "feature": 1, "group": 2}


@pytest.mark.parametrize("case", ["hierarchy_tree_1", "hierarchy_tree_2"])
@pytest.mark.parametrize("sample", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tree_is_the_published_one(golden, case, sample, dtype):
    case = golden(case)
    tree = explanation_tree(
        torch.as_tensor(case["in_features"][sample], dtype=dtype),
        torch.as_tensor(case["in_logits"][sample], dtype=dtype),
        torch.as_tensor(case["in_weight"]),
    )
    n_classes, n_per_class = case["in_logits"].shape[1], case[f"out_node_path_{sample}"].shape[1]
    nodes = [tree.nodes[node] for node in sorted(tree)]
    members = np.array([[c in node["classes"] for c in range(n_classes)] for node in nodes])
    paths = [node["path"] + (-1,) * (n_per_class - len(node["path"])) for node in nodes]
    assert sorted(tree.edges) == [tuple(edge) for edge in case[f"out_edges_{sample}"]]
    assert [KINDS[node["kind"]] for node in nodes] == case[f"out_node_kind_{sample}"].tolist()
    assert [node["feature"] for node in nodes] == case[f"out_node_feature_{sample}"].tolist()
    assert [node["depth"] for node in nodes] == case[f"out_node_depth_{sample}"].tolist()
    np.testing.assert_array_equal(members, case[f"out_group_member_{sample}"])
    np.testing.assert_array_equal(paths, case[f"out_node_path_{sample}"])


WEIGHT = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]])


def groups(tree):
    return {data["classes"]: data["path"] for _, data in tree.nodes(data=True) if data["classes"]}


def test_equal_activations_take_the_lower_feature_first():
    tree = explanation_tree(np.array([2.0, 2.0, 1.0, 0.0]), np.array([4.0, 3.0, 1.0]), WEIGHT)
    assert groups(tree) == {(0,): (0, 1), (1,): (0, 2)}


def test_a_class_hangs_under_its_last_active_feature():
    tree = explanation_tree(np.array([2.0, 0.0, 0.0, 3.0]), np.array([2.0, 2.0, 1.0]), WEIGHT)
    assert groups(tree) == {(0, 1): (0,)}


def test_global_scope_shows_every_class():
    features, logits = np.array([[2.0, 1.0, 0.0, 0.0]]), np.array([[3.0, 2.0, 0.0]])
    assert groups(explanation_tree(features, logits, WEIGHT)) == {(0,): (0, 1), (1,): (0,)}
    tree = explanation_tree(features, logits, WEIGHT, scope="global")
    assert groups(tree) == {(0,): (0, 1), (1,): (0,), (2,): ()}


def test_without_an_active_feature_only_the_root_is_left():
    tree = explanation_tree(np.zeros(4), np.zeros(3), WEIGHT)
    assert list(tree) == [0]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        explanation_tree(np.zeros(3), np.zeros(3), WEIGHT)
    with pytest.raises(ValueError, match="scope"):
        explanation_tree(np.zeros(4), np.zeros(3), WEIGHT, scope="all")
