"""Conversion of what callers pass to the arrays that the solvers compute with."""

import numpy as np


def to_float64(values) -> np.ndarray:
    """The values as a float64 array, from a torch tensor on any device or any array-like."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)
