"""Feature selection by the quadratic program of QPM and CHiQPM (docs/selection.md)."""

from sparsification.qpm.class_pairs import most_similar_pairs, sharing_pairs
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.selection import NoSelectionError, PairsImpossibleError, Selection
from sparsification.qpm.solve import SOLVERS, solve

__all__ = [
    "SOLVERS",
    "NoSelectionError",
    "PairsImpossibleError",
    "Selection",
    "SelectionProblem",
    "most_similar_pairs",
    "sharing_pairs",
    "solve",
]
