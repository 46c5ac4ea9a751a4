"""The local explanation of one prediction as a tree (CHiQPM, arXiv 2511.20779, section 3.3).

Every class is a path of its features, ordered by their strength in this image. Classes with the same first features
share the start of their path; the classes below a node are those that the features so far do not separate.
"""

import networkx as nx
import numpy as np
import torch

from architectures.activations import strongest_first

ROOT = 0
NOTHING = {"feature": -1, "classes": (), "activation": 0.0}  # default attributes of a node


def explanation_tree(features, logits, weight, scope: str = "local") -> nx.DiGraph:
    """Tree of the features that lead to the predicted class and to similar classes.

    A feature node is a prefix of a class's features, ordered by activation (ties go to the lower index). A branch ends
    before its first inactive feature (activation <= 0); the classes that end under the same node form a group.

    Args:
        features: input of the head for one image, `[n]` (or `[1, n]`).
        logits: `[C]` (or `[1, C]`); the largest is the prediction.
        weight: class-feature assignment, `[C, n]`, the same number of nonzeros in every row.
        scope: `local`: the classes whose strongest feature is the prediction's; `global`: all classes.

    Returns:
        Directed graph, edges from the root (node 0) outwards. Nodes are numbered: feature nodes by depth, then path;
        then groups by their smallest class. Node attributes: `kind` (`root`, `feature`, `group`), `feature` (index, -1
        if none), `classes` (of a group, else empty), `depth` (root 0), `path` (features from the root, a group has its
        parent's), `activation` (of the feature, else 0). Graph attribute: `predicted`.

    Raises:
        ValueError: if the shapes do not fit, or `scope` is unknown.
    """
    features, logits, weight = _one_image(features, logits, weight)
    if scope not in ("local", "global"):
        raise ValueError(f"scope is local or global, got {scope!r}.")
    predicted = int(logits.argmax())
    paths = active_paths(features, weight)
    if scope == "local":
        first = paths[predicted][:1]
        paths = {c: path for c, path in paths.items() if first and path[:1] == first}

    tree = nx.DiGraph(predicted=predicted)
    _add(tree, "root", path=())
    prefixes = {path[:depth] for path in paths.values() for depth in range(1, len(path) + 1)}
    node_of: dict[tuple[int, ...], int] = {(): ROOT}
    for prefix in sorted(prefixes, key=lambda prefix: (len(prefix), prefix)):
        node_of[prefix] = _add(tree, "feature", path=prefix, feature=prefix[-1], activation=float(features[prefix[-1]]))
        tree.add_edge(node_of[prefix[:-1]], node_of[prefix])

    groups: dict[tuple[int, ...], list[int]] = {}
    for c, path in paths.items():
        groups.setdefault(path, []).append(c)
    # Classes come in ascending order, and so do groups, by their smallest class.
    for path, classes in groups.items():
        group = _add(tree, "group", path=path, classes=tuple(classes), depth=len(path) + 1)
        tree.add_edge(node_of[path], group)
    return tree


def active_paths(features: np.ndarray, weight: np.ndarray) -> dict[int, tuple[int, ...]]:
    """Active features of every class in this image, the strongest first: `{class: path}`."""
    paths = {}
    for c, row in enumerate(weight):
        assigned = np.flatnonzero(row)
        ordered = assigned[strongest_first(features[assigned]).numpy()]
        paths[c] = tuple(int(f) for f in ordered if features[f] > 0)
    return paths


def _add(tree: nx.DiGraph, kind: str, *, path: tuple[int, ...], **attributes) -> int:
    """Add a node at a path and return its number; `NOTHING` holds the attributes not given."""
    node, defaults = len(tree), NOTHING | {"depth": len(path)}
    tree.add_node(node, kind=kind, path=path, **(defaults | attributes))
    return node


def _one_image(features, logits, weight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    features, logits, weight = (torch.as_tensor(array).detach().cpu().numpy() for array in (features, logits, weight))
    features = features[0] if features.ndim == 2 and len(features) == 1 else features
    logits = logits[0] if logits.ndim == 2 and len(logits) == 1 else logits
    if weight.ndim != 2 or (logits.shape + features.shape) != weight.shape:
        raise ValueError(
            f"weight {weight.shape} is not [C, n] of features {features.shape}, "
            f"logits {logits.shape}: the shapes do not fit."
        )
    return features, logits, weight
