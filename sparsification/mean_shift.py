"""Mean shift with a flat kernel in one dimension (Comaniciu and Meer, PAMI 2002), on sorted values.

The clusters are those of scikit-learn's `MeanShift()`, which the published code uses: same bandwidth, every value a
seed, same stopping rule and same order of clusters. In one dimension the neighbours of a seed are a range of the sorted
values, so one step of all seeds costs two binary searches and a difference of cumulative sums. Only if a value lies
exactly on the edge of a seed's window may rounding decide differently from scikit-learn.
"""

import numpy as np

QUANTILE = 0.3  # share of all values that the bandwidth reaches on average
STOP = 1e-3  # of the bandwidth: a seed that moves less has converged
MAX_STEPS = 300
ROWS_AT_A_TIME = 500  # of distances


def mean_shift(values: np.ndarray) -> np.ndarray:
    """Cluster of every value, `[N]` -> `[N]` integers; clusters with more values around their centre come first."""
    bandwidth = estimate_bandwidth(values)
    modes, counts = _climb(values, bandwidth)
    by_mode = dict(zip(modes.tolist(), counts.tolist(), strict=True))
    ranked = sorted(by_mode, key=lambda mode: (by_mode[mode], mode), reverse=True)
    centres, remaining = [], np.array(ranked)
    while len(remaining):
        centres.append(remaining[0])
        remaining = remaining[np.abs(remaining - centres[-1]) > bandwidth]
    return np.abs(values[:, None] - centres).argmin(axis=1)


def estimate_bandwidth(values: np.ndarray) -> float:
    """Mean distance of a value to its `QUANTILE * N`-th nearest, itself included."""
    neighbour = max(1, int(len(values) * QUANTILE)) - 1
    total = 0.0
    for start in range(0, len(values), ROWS_AT_A_TIME):
        distances = np.abs(values[start : start + ROWS_AT_A_TIME, None] - values)
        total += np.partition(distances, neighbour, axis=1)[:, neighbour].sum()
    return total / len(values)


def _climb(values: np.ndarray, bandwidth: float) -> tuple[np.ndarray, np.ndarray]:
    """Mode that every value converges to as a seed, and the number of values around it, `([N], [N])`."""
    distinct, multiplicity = np.unique(values, return_counts=True)
    running_count = np.concatenate([[0], multiplicity.cumsum()])
    running_sum = np.concatenate([[0.0], (distinct * multiplicity).cumsum()])
    mode, count = values.astype(np.float64), np.zeros(len(values), dtype=np.int64)
    moving = np.arange(len(values))
    for _ in range(MAX_STEPS + 1):
        before = mode[moving]
        low = np.searchsorted(distinct, before - bandwidth, side="left")
        high = np.searchsorted(distinct, before + bandwidth, side="right")
        count[moving] = running_count[high] - running_count[low]
        mean = (running_sum[high] - running_sum[low]) / count[moving]
        # The mean of a single value is that value, even if the sums are rounded.
        mode[moving] = np.where(high - low == 1, distinct[low], mean)
        moving = moving[np.abs(mode[moving] - before) > STOP * bandwidth]
        if not len(moving):
            break
    return mode, count
