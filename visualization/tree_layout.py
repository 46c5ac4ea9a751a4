"""Which leaves of an explanation tree are drawn, and on which row.

The tree grows from left to right and every leaf has a row of its own, with its name on its right. A subtree fills
neighbouring rows, so no branch can pass through a name.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import takewhile

import networkx as nx
import numpy as np

from visualization.tree import explanation_tree

MAX_ROWS = 24


@dataclass(frozen=True)
class Leaf:
    """Classes that end at the same place in the tree and are either all in the set or all outside."""

    path: tuple[int, ...]  # features from the root to the leaf's parent
    classes: tuple[int, ...]  # from the largest logit to the smallest, the prediction first
    in_set: bool  # whether they are in the prediction set
    named: bool = True  # whether they are drawn by name; otherwise only their number is

    def label(self, class_names) -> str:
        """Text beside the leaf, such as `Shiny Cowbird, +3`."""
        if not self.named:
            return f"+{len(self.classes)} more"
        others = len(self.classes) - 1
        return class_names[self.classes[0]] + (f", +{others}" if others else "")


def tree_with_set(features, logits, weight, prediction_set: Set[int]) -> nx.DiGraph:
    """The local tree, or the global one if the prediction set reaches beyond the local tree."""
    tree = explanation_tree(features, logits, weight)
    shown = {c for _, classes in tree.nodes(data="classes") for c in classes}
    if prediction_set <= shown:
        return tree
    return explanation_tree(features, logits, weight, scope="global")


def node_activations(tree: nx.DiGraph) -> dict[tuple[int, ...], float]:
    """Activation of every feature node, by its path."""
    features = (node for _, node in tree.nodes(data=True) if node["kind"] == "feature")
    return {node["path"]: node["activation"] for node in features}


def node_sizes(
    activations: Mapping[tuple[int, ...], float], nodes: Iterable[tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
    """Diameters of the drawn feature nodes, 1 for the strongest, so that their areas are the activations."""
    drawn = {path: activations[path] for path in nodes if path}
    strongest = max(drawn.values(), default=1.0)
    return {path: float(np.sqrt(active / strongest)) for path, active in drawn.items()}


def drawn_leaves(
    tree: nx.DiGraph, logits: np.ndarray, prediction_set: Set[int], max_rows: int = MAX_ROWS
) -> list[Leaf]:
    """Leaves worth drawing, the closest to the prediction first.

    The order is: the predicted class, the prediction set, then by number of leading features shared with the
    prediction, then by logit. Leaves that do not fit are counted in leaves without a name, at the last node drawn on
    their path. Every class of the tree is in exactly one leaf.

    Args:
        tree: from `explanation_tree`, with at least one class.
        logits: `[C]`.
        max_rows: largest number of leaves, unless the prediction alone needs more.
    """
    predicted = tree.graph["predicted"]

    def closeness(c: int):
        return (c == predicted, float(logits[c]))

    def leaf(path, classes, in_set, named=True) -> Leaf:
        return Leaf(path, tuple(sorted(classes, key=closeness, reverse=True)), in_set, named)

    leaves = []
    for _, group in tree.nodes(data=True):
        inside = prediction_set & set(group["classes"])
        parts = ((inside, True), (set(group["classes"]) - inside, False))
        leaves += [leaf(group["path"], classes, in_set) for classes, in_set in parts if classes]
    main_path = next((leaf.path for leaf in leaves if predicted in leaf.classes), ())

    def rank(leaf: Leaf):
        best = closeness(leaf.classes[0])
        return (best[0], leaf.in_set, _shared_prefix(leaf.path, main_path), best[1])

    leaves.sort(key=rank, reverse=True)
    for kept in range(min(len(leaves), max_rows), 0, -1):
        drawn, hidden = leaves[:kept], leaves[kept:]
        nodes = {leaf.path[:depth] for leaf in drawn for depth in range(len(leaf.path) + 1)} | {()}
        counted: dict[tuple, list[int]] = {}
        for h in hidden:
            last = next(h.path[:d] for d in range(len(h.path), -1, -1) if h.path[:d] in nodes)
            counted.setdefault((last, h.in_set), []).extend(h.classes)
        if kept + len(counted) <= max_rows:
            break
    return drawn + [leaf(path, cs, in_set, named=False) for (path, in_set), cs in counted.items()]


def layout(leaves: list[Leaf]) -> tuple[dict[tuple[int, ...], float], list[tuple[Leaf, int]]]:
    """Rows of the nodes and of the leaves.

    Args:
        leaves: the most important first; a node's branches are ordered by their best leaf.

    Returns:
        Row of every node, by its path, half way between its first and its last branch; and the leaves with their rows,
        from top to bottom.
    """
    nodes: dict[tuple[int, ...], float] = {}
    rows: list[tuple[Leaf, int]] = []

    def place(path: tuple[int, ...], below: list[Leaf]) -> float:
        branches: dict[tuple, list[Leaf]] = {}
        for leaf in below:  # a leaf that ends here is a branch of its own
            ends_here = len(leaf.path) == len(path)
            key = ("leaf", leaf) if ends_here else ("node", leaf.path[len(path)])
            branches.setdefault(key, []).append(leaf)
        positions: list[float] = []
        for (kind, key), branch in branches.items():
            if kind == "leaf":
                positions.append(len(rows))
                rows.append((key, len(rows)))
            else:
                positions.append(place((*path, key), branch))
        nodes[path] = (positions[0] + positions[-1]) / 2
        return nodes[path]

    place((), leaves)
    return nodes, rows


def _shared_prefix(path: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(path, other, strict=False)))
