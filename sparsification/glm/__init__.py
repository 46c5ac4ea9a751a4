"""Sparse linear layers of Q-SENN and SLDD-Model: choice of features, path, sparsification."""

from sparsification.glm.fit import fit_qsenn, fit_sldd
from sparsification.glm.path import Path, choose_features, regularisation_path
from sparsification.glm.sparsify import quantise_qsenn, sparsify_sldd

__all__ = ["Path", "choose_features", "fit_qsenn", "fit_sldd", "quantise_qsenn", "regularisation_path", "sparsify_sldd"]
