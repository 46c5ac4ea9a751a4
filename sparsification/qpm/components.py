"""Named pairs of classes as a graph: its connected components."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True)
class Component:
    """Classes connected by named pairs; what one of them uses matters to all."""

    classes: np.ndarray  # their indices, ascending, [K]
    pairs: np.ndarray  # the named pairs among them, as positions in `classes`, [E, 2]


def split_classes(named_pairs: np.ndarray, n_classes: int) -> tuple[list[Component], np.ndarray]:
    """The components formed by pairs of classes `[P, 2]`, largest first, and the classes in no pair."""
    adjacent = np.zeros((n_classes, n_classes), dtype=bool)
    adjacent[tuple(named_pairs.T)] = True
    adjacent |= adjacent.T
    n_groups, group_of = connected_components(adjacent, directed=False)
    groups = [np.flatnonzero(group_of == i) for i in range(n_groups)]
    components = [
        Component(classes, np.argwhere(np.triu(adjacent[np.ix_(classes, classes)])))
        for classes in sorted(groups, key=len, reverse=True)
        if len(classes) > 1
    ]
    return components, np.flatnonzero(~adjacent.any(axis=1))
