"""The part of a symmetric matrix with negative eigenvalues, followed while the matrix changes.

In the alternating direction method this part has few dimensions (about a hundred of 2048), and from one iteration to
the next they turn only a little. So instead of a whole decomposition, a basis of the part is kept and refreshed: a
polynomial filter of the matrix (Zhou, Saad, Tiago and Chelikowsky, "Self-consistent-field calculations using
Chebyshev-filtered subspace iteration", 2006) shrinks whatever it holds of the other eigenvectors.
"""

import numpy as np
from scipy.linalg import eigh, qr
from scipy.sparse.linalg import ArpackError, eigsh

# Matrices below this size are decomposed as a whole: exact, and as fast.
LEAST_SIZE = 600
# The basis has this many columns more than the part last had dimensions, so that the part can grow.
SPARE_SHARE, SPARE = 0.2, 5
# Share of the size up to which a basis is faster than a decomposition.
MOST_COLUMNS = 0.3
FILTER_DEGREE = 4
# Accuracy of the largest eigenvalue, and what is added to its estimate, as fractions of it.
TOP_ACCURACY, TOP_MARGIN = 1e-2, 2e-2


class NegativePart:
    """Negative parts of a sequence of similar matrices, approximately.

    Args:
        size: of the matrices.
    """

    def __init__(self, size: int):
        self.size = size
        self.rng = np.random.default_rng(0)
        self.basis = np.zeros((size, size))  # orthonormal columns, by ascending eigenvalue; at first nothing is known
        self.top = np.zeros(size)  # eigenvector of the largest eigenvalue

    def roots(self, matrix: np.ndarray) -> np.ndarray:
        """Columns r with the negative part -r r', `[size, dimensions]`; of the dtype of the matrix."""
        found = self._refreshed(matrix)
        if found is None:
            found = eigh(matrix, check_finite=False, driver="evd")
            self.top = found[1][:, -1]
        values, vectors = found
        count = int((values < 0).sum())
        self.basis = self._with_spare_columns(vectors, count)
        return vectors[:, :count] * np.sqrt(-values[:count])

    def _refreshed(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Ascending Rayleigh-Ritz values and vectors of the filtered basis; None where it does not pay or suffice."""
        if self.size < LEAST_SIZE or self.basis.shape[1] > MOST_COLUMNS * self.size:
            return None
        try:
            (top,), vectors = eigsh(matrix, k=1, which="LA", v0=self.top, tol=TOP_ACCURACY)
        except ArpackError:  # the matrix is zero
            return None
        if top <= 0:
            return None
        self.top = vectors[:, 0]
        filtered = self._filtered(matrix, (1 + TOP_MARGIN) * top)
        columns, _ = qr(filtered, mode="economic", overwrite_a=True, check_finite=False)
        values, rotation = eigh(columns.T @ (matrix @ columns), check_finite=False)
        return (values, columns @ rotation) if values[-1] >= 0 else None  # else the part may be larger

    def _filtered(self, matrix: np.ndarray, top: float) -> np.ndarray:
        """The Chebyshev polynomial of the matrix that stays within 1 on [0, top], times the basis."""
        centre = matrix.dtype.type(top / 2)
        before, now = self.basis, (matrix @ self.basis) / centre - self.basis
        for _ in range(FILTER_DEGREE - 1):
            before, now = now, 2 * ((matrix @ now) / centre - now) - before
        return now

    def _with_spare_columns(self, vectors: np.ndarray, count: int) -> np.ndarray:
        """The first of the vectors, at random where there are too few, for a part of `count` dimensions."""
        wanted = min(count + int(SPARE_SHARE * count) + SPARE, self.size)
        missing = max(wanted - vectors.shape[1], 0)
        newcomers = self.rng.normal(size=(self.size, missing)).astype(vectors.dtype)
        return np.hstack([vectors[:, :wanted], newcomers])
