"""Upper bound on the objective by one multiplier per class, as for the p-median problem.

The k largest gains of a class among the selected features sum to min_m (k m + sum_{f in S}
max(gain[c, f] - m, 0)). With any fixed multipliers m_c the classes therefore fall apart into one
score per feature,

    V(S) <= k sum_c m_c + sum_{f in S} (sum_c max(gain[c, f] - m_c, 0) + b_f) - penalties within S,

and the n best scores bound every selection; the penalties only lower it further.
"""

import numpy as np

# Steps at most, and array entries after which fewer are taken to stay below a second.
ITERATIONS, MAX_ENTRIES = 300, 30_000_000
# Length of the steps: at first this share of the range of the gains, then falling by the decay.
FIRST_STEP, DECAY = 0.1, 0.98


def feature_scores(gain: np.ndarray, bias: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """What a feature adds to the bound for the given multipliers `[C]`, `[F]`."""
    return np.maximum(gain - multipliers[:, None], 0.0).sum(axis=0) + bias


def class_multipliers(
    gain: np.ndarray, bias: np.ndarray, *, n_features: int, n_per_class: int
) -> np.ndarray:
    """Multipliers of nearly the least bound, `[C]`, by subgradient steps.

    Args:
        gain: gain of every class from every feature, `[C, F]`.
        bias: preference for every feature, `[F]`.
        n_features: how many features are selected.
        n_per_class: how many of them every class uses.
    """
    k, n = n_per_class, n_features
    multipliers = -np.partition(-gain, k - 1, axis=1)[:, k - 1]
    best, least = multipliers, np.inf
    step = FIRST_STEP * np.ptp(gain)
    for _ in range(min(ITERATIONS, MAX_ENTRIES // gain.size + 1)):
        scores = feature_scores(gain, bias, multipliers)
        chosen = np.argpartition(-scores, n - 1)[:n]
        bound = k * multipliers.sum() + scores[chosen].sum()
        if bound < least:
            best, least = multipliers, bound
        n_used = (gain[:, chosen] > multipliers[:, None]).sum(axis=1)
        multipliers = multipliers + step * np.clip(n_used - k, -k, k) / k
        step *= DECAY
    return best
