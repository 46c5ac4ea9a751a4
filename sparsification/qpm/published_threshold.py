"""The redundancy threshold as the published code finds it (`--redundancy_threshold published`).

A grid of 100 quantiles of the redundancies starts where Turan's theorem promises `n_features` mutually less redundant
features, and ends where no pair with any redundancy would be allowed. It is followed downwards as long as a greedy
search (Pattabiraman et al., "Fast algorithms for the maximum clique problem on massive graphs", 2015) finds a clique of
compatible features that is large enough, then upwards until the approximation of Boppana and Halldorsson
("Approximating maximum independent sets by excluding subgraphs", 1992) finds one too. Both are heuristics, so the
threshold is larger than it need be (docs/selection.md).
"""

import numpy as np

from configs.errors import RunError
from sparsification.qpm.progress import Stopwatch

STEPS = 100
# Seconds of computing time after which the search fails.
SECONDS = 120.0
INSTEAD = "leave --redundancy_threshold out, which finds a lower threshold in seconds"


def published_threshold(redundancy: np.ndarray, n_features: int) -> float:
    """Redundancy from which a pair is penalised, by the published grid and clique search.

    Args:
        redundancy: of every pair of features, at least 0, symmetric or upper triangle, `[F, F]`.
        n_features: how many features are selected, at least 3.

    Raises:
        RunError: if the search finds no such set of features on its grid, or not in time.
    """
    upper = np.triu(np.asarray(redundancy, dtype=np.float64), 1)
    symmetric = upper + upper.T
    clock = Stopwatch()
    values = np.sort(symmetric, axis=None)
    first = len(values) * (n_features - 2) / max(n_features - 1, 1)
    step = (first - (len(values) - np.count_nonzero(symmetric))) / STEPS

    def compatible(i: int) -> tuple[float, np.ndarray]:
        place = min(max(int(first) - int(i * step), 0), len(values) - 1)
        graph = symmetric < values[place]
        np.fill_diagonal(graph, False)
        return float(values[place]), graph

    lowest = -1
    for i in range(STEPS if step > 0 else 0):
        size = greedy_clique_size(compatible(i)[1], n_features, clock)
        if size >= n_features:
            lowest = i
        if size <= n_features:
            break
    if lowest >= 0:
        for i in range(lowest, lowest - STEPS, -1):
            threshold, graph = compatible(i)
            if large_clique(graph, n_features, clock) >= n_features:
                return threshold
    raise RunError(
        f"--redundancy_threshold published: no {n_features} features without a redundant pair are "
        f"found on its grid; {INSTEAD}"
    )


def check_time(clock: Stopwatch) -> None:
    """Raise a RunError after `SECONDS` of computing."""
    if clock.elapsed > SECONDS:
        raise RunError(
            f"--redundancy_threshold published: the clique search has not ended in {SECONDS:.0f} s; {INSTEAD}"
        )


def greedy_clique_size(graph: np.ndarray, target: int, clock: Stopwatch) -> int:
    """Size of the first clique found with at least `target` vertices, else of the largest found.

    From every vertex on, the neighbour with the most neighbours of its own is added.

    Args:
        graph: whether two vertices are adjacent, `[F, F]`.
        target: size at which the search ends.
        clock: a RunError is raised `SECONDS` after its start.
    """
    degree = graph.sum(axis=1)
    best = 0
    for start in np.flatnonzero(degree >= target):
        check_time(clock)
        left = graph[start] & (degree >= target)
        size = 1
        while left.any():
            following = int(np.where(left, degree, -1).argmax())
            left &= graph[following]
            size += 1
        best = max(best, size)
        if best >= target:
            break
    return best


def large_clique(graph: np.ndarray, target: int, clock: Stopwatch) -> int:
    """Size of the largest clique found; the search ends when one has `target` vertices.

    Independent sets that are found along the way are removed until no vertex is left.

    Args:
        graph: whether two vertices are adjacent, `[F, F]`.
        target: size at which the search ends.
        clock: a RunError is raised `SECONDS` after its start.
    """
    left = np.arange(len(graph))
    best = 0
    while len(left) and best < target:
        check_time(clock)
        clique, independent = ramsey(graph, left)
        best = max(best, len(clique))
        left = np.setdiff1d(left, independent)
    return best


def ramsey(graph: np.ndarray, vertices: np.ndarray) -> tuple[list[int], list[int]]:
    """A clique and an independent set among some vertices, by Ramsey's argument.

    The first vertex joins the clique found among its neighbours and the independent set found among the others; of
    each kind the larger result is kept.
    """
    waiting: list[tuple[int, np.ndarray | None]] = [(-1, vertices)]
    found: list[tuple[list[int], list[int]]] = []
    while waiting:  # depth first without recursion, which may be as deep as there are vertices
        vertex, inside = waiting.pop()
        if inside is None:
            clique, independent = found.pop()
            clique_near, independent_near = found.pop()
            clique_near, independent = [*clique_near, vertex], [*independent, vertex]
            found.append((max(clique_near, clique, key=len), max(independent_near, independent, key=len)))
        elif len(inside) == 0:
            found.append(([], []))
        else:
            vertex, others = int(inside[0]), inside[1:]
            near = graph[vertex, others]
            waiting += [(vertex, None), (-1, others[~near]), (-1, others[near])]
    return found[0]
