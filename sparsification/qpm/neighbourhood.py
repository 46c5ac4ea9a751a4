"""Every swap of one selected feature for another, valued at once.

With every class taking its k best selected features, the value of a set S is

    V(S) = sum_c (sum of the k largest gain[c, f], f in S) + sum_{f in S} b[f] - penalties within S.

When f leaves, a class that used it falls back on its next best feature, so that the bar a newcomer
g has to pass drops from the k-th to the (k+1)-th largest gain. Both cases together are one product
of the 0/1 use matrix with the gains clipped between the two bars.
"""

import numpy as np


class SwapNeighbourhood:
    """Values of sets of features and of all their swaps, in float32.

    Args:
        gain: gain of every class from every feature, `[C, F]`.
        penalty: cost of every pair of features, symmetric, zero diagonal, `[F, F]`.
        bias: preference for every feature, `[F]`.
        n_per_class: how many features a class uses (k).
    """

    def __init__(self, gain, penalty, bias, n_per_class):
        self.gain = np.ascontiguousarray(gain, dtype=np.float32)
        self.penalty = np.ascontiguousarray(penalty, dtype=np.float32)
        self.bias = np.asarray(bias, dtype=np.float32)
        self.n_per_class = n_per_class

    def evaluate(self, selected: np.ndarray) -> tuple[float, np.ndarray]:
        """Value of a set and its change by every swap.

        Args:
            selected: indices of the selected features, `[n]`.

        Returns:
            V(S), and `[n, F]` with the change when feature `selected[i]` is replaced by feature j;
            minus infinity where j is selected already.
        """
        own = self.gain[:, selected]  # (C, n)
        used, bar, lower_bar = self._use(own)
        class_value = (used * own).sum(axis=0)
        pairwise = self.penalty[selected]  # (n, F)
        crowding = pairwise[:, selected].sum(axis=1)  # (n,)
        value = class_value.sum() + self.bias[selected].sum() - crowding.sum() / 2

        change = used.T @ np.clip(self.gain, lower_bar, bar)  # (n, F)
        entering = np.maximum(self.gain, bar).sum(axis=0) - bar.sum()
        change += entering + self.bias - pairwise.sum(axis=0) + pairwise
        change -= (class_value + self.bias[selected] - crowding)[:, None]
        change[:, selected] = -np.inf
        return float(value), change

    def _use(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """0/1 use `[C, n]`, and the k-th and (k+1)-th largest gain of every class, `[C, 1]`."""
        k, (n_classes, n) = self.n_per_class, own.shape
        if n == k:  # no next best: any gain of a newcomer counts in full
            lowest = np.full((n_classes, 1), self.gain.min(), dtype=np.float32)
            return np.ones_like(own), own.min(axis=1, keepdims=True), lowest
        order = np.argpartition(-own, (k - 1, k), axis=1)[:, : k + 1]
        used = np.zeros_like(own)
        np.put_along_axis(used, order[:, :k], 1.0, axis=1)
        bars = np.take_along_axis(own, order[:, k - 1 :], axis=1)
        return used, bars[:, :1], bars[:, 1:]
