"""Feature selection by the quadratic program of QPM and CHiQPM (docs/selection.md)."""

from sparsification.qpm.class_pairs import exclusive_pairs, most_similar_pairs, sharing_pairs
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.search.named_pairs import PairsImpossibleError
from sparsification.qpm.selection import Selection
from sparsification.qpm.solve import SOLVERS, solve

__all__ = [
    "SOLVERS",
    "PairsImpossibleError",
    "Selection",
    "SelectionProblem",
    "exclusive_pairs",
    "most_similar_pairs",
    "sharing_pairs",
    "solve",
]
