"""Every swap of one selected feature for another, valued at once.

With every class taking its k best selected features, the value of a set S is

    V(S) = sum_c (sum of the k largest gain[c, f], f in S) + sum_{f in S} b[f] - penalties within S.

When f leaves, a class that used it falls back on its next best feature, so that the bar for a newcomer g drops from the
k-th to the (k+1)-th largest gain. Both cases together are one product of the 0/1 use matrix with the gains clipped
between the two bars.
"""

import numpy as np


class SwapNeighbourhood:
    """A set of features and the change of its value by every swap, updated from swap to swap.

    Only classes whose bars a swap moves are recomputed. Sums are float32; the walk moves to a fresh set often enough to
    keep rounding errors small.

    Args:
        gain: gain of every class from every feature, `[C, F]`.
        penalty: cost of every pair of features, symmetric, zero diagonal, `[F, F]`.
        bias: preference for every feature, `[F]`.
    """

    def __init__(self, gain, penalty, bias, n_per_class):
        self.gain = np.ascontiguousarray(gain, dtype=np.float32)
        self.penalty = np.ascontiguousarray(penalty, dtype=np.float32)
        self.n_per_class = n_per_class
        self.value_by(bias, 0.0)
        self.lowest = self.gain.min(initial=0.0)

    def value_by(self, bias: np.ndarray, constant: float) -> None:
        """Use another preference for every feature, `[F]`, and another constant in every value from now on."""
        self.bias, self.constant = np.asarray(bias, dtype=np.float32), constant

    def move_to(self, selected: np.ndarray) -> None:
        """Start again from any set of features, `[n]`."""
        self.selected = selected.copy()
        self.own = self.gain[:, selected]  # (C, n)
        self.used, self.bar, self.lower_bar = self._use(self.own)
        self.clipped = np.clip(self.gain, self.lower_bar, self.bar)  # (C, F)
        self.fallback = self.used.T @ self.clipped  # (n, F)
        self.entering = (np.maximum(self.gain, self.bar) - self.bar).sum(axis=0)  # (F,)

    def swap(self, position: int, feature: int) -> None:
        """Replace the selected feature at a position."""
        before, after = self.own[:, position], self.gain[:, feature]
        classes = np.flatnonzero(np.maximum(before, after) >= self.lower_bar[:, 0])
        self.selected[position] = feature
        self.own[:, position] = after
        gain = self.gain[classes]
        used, bar, lower_bar = self._use(self.own[classes])
        clipped = np.clip(gain, lower_bar, bar)
        self.fallback += used.T @ clipped - self.used[classes].T @ self.clipped[classes]
        above = np.maximum(gain, bar) - np.maximum(gain, self.bar[classes])
        self.entering += above.sum(axis=0) - (bar - self.bar[classes]).sum()
        self.used[classes], self.bar[classes], self.lower_bar[classes] = used, bar, lower_bar
        self.clipped[classes] = clipped

    def evaluate(self) -> tuple[float, np.ndarray]:
        """Value of the set and its change by every swap.

        Returns:
            V(S), and `[n, F]` with the change when the feature at position i is replaced by feature
            j; minus infinity where j is selected already.
        """
        class_value = (self.used * self.own).sum(axis=0)  # (n,)
        pairwise = self.penalty[self.selected]  # (n, F)
        crowding = pairwise[:, self.selected].sum(axis=1)  # (n,)
        bias = self.bias[self.selected]
        value = self.constant + class_value.sum() + bias.sum() - crowding.sum() / 2
        change = self.fallback + pairwise
        change += self.entering + self.bias - pairwise.sum(axis=0)
        change -= (class_value + bias - crowding)[:, None]
        change[:, self.selected] = -np.inf
        return float(value), change

    def _use(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """0/1 use `[C, n]`, and the k-th and (k+1)-th largest gain of every class, `[C, 1]`."""
        k, (n_classes, n) = self.n_per_class, own.shape
        if n == k:  # no next best: any gain of a newcomer counts in full
            lowest = np.full((n_classes, 1), self.lowest)
            return np.ones_like(own), own.min(axis=1, keepdims=True), lowest
        order = np.argpartition(-own, (k - 1, k), axis=1)[:, : k + 1]
        used = np.zeros_like(own)
        np.put_along_axis(used, order[:, :k], 1.0, axis=1)
        bars = np.take_along_axis(own, order[:, k - 1 :], axis=1)
        return used, bars[:, :1], bars[:, 1:]
