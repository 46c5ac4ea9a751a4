"""Features of every class under the rule that enough pairs share all but one (CHiQPM).

The rule is priced: every class in turn takes the subset with the largest value plus `price` times
the number of classes with which it then shares exactly k - 1 features, until nothing changes. The
smallest price that yields enough pairs is found by bisection; then classes go back to better
subsets as long as enough pairs remain.
"""

import itertools

import numpy as np

from sparsification.qpm.assignment import FORBIDDEN, distinct_subsets, ranked_subsets, weight_of

# Subsets among which the classes choose: at most this many, shared by all classes.
MAX_CANDIDATES = 4000
MAX_SWEEPS = 30
BISECTIONS = 8
# Reward of a pair that is closest in A over one that is not: decides between equal values only.
PREFERENCE = 1e-7


class PairAssignment:
    """Best responses of classes that choose among common candidate subsets.

    Args:
        values: value of every selected feature for every class, `[C, n]`.
        n_per_class: size of the subsets k.
        named_pairs: pairs of classes to prefer, `[p, 2]`.
    """

    def __init__(self, values: np.ndarray, n_per_class: int, named_pairs: np.ndarray):
        n_classes, n = values.shape
        self.start = distinct_subsets(values, n_per_class)
        self.subsets = candidate_subsets(values, n_per_class, self.start)
        members = weight_of(self.subsets, n)  # (N, n)
        self.value = values @ members.T  # (C, N)
        self.sharing = (members @ members.T == n_per_class - 1).astype(np.float32)  # (N, N)
        index = {tuple(subset): i for i, subset in enumerate(self.subsets.tolist())}
        self.initial = np.array([index[tuple(subset)] for subset in self.start.tolist()])
        self.named: list[list[int]] = [[] for _ in range(n_classes)]
        for i, j in named_pairs:
            self.named[i].append(j)
            self.named[j].append(i)

    def count(self, choice: np.ndarray) -> int:
        """Number of pairs that share k - 1 features."""
        return int(self.sharing[np.ix_(choice, choice)].sum()) // 2

    def total(self, choice: np.ndarray) -> float:
        """Value of all classes."""
        return float(self.value[np.arange(len(choice)), choice].sum())

    def respond(self, choice: np.ndarray, price: float, required: int | None = None) -> np.ndarray:
        """Choice after every class, in turn and repeatedly, has taken its best response.

        Args:
            choice: candidate index of every class, all different.
            price: reward of every pair.
            required: if given, a class moves only if at least this many pairs remain.
        """
        choice = choice.copy()
        n_sharing = self.sharing[choice].sum(axis=0)  # (N,): classes sharing k - 1 with a candidate
        taken = np.zeros(len(self.subsets), dtype=bool)
        taken[choice] = True
        n_pairs = self.count(choice)
        for _ in range(MAX_SWEEPS):
            moved = False
            for c, old in enumerate(choice):
                n_partners = n_sharing - self.sharing[old]
                score = self.value[c] + price * n_partners
                for partner in self.named[c]:
                    score = score + PREFERENCE * self.sharing[choice[partner]]
                barred = taken.copy()
                barred[old] = False
                if required is not None:
                    barred |= n_pairs - n_partners[old] + n_partners < required
                score[barred] = -FORBIDDEN
                new = int(score.argmax())
                if score[new] > score[old] + PREFERENCE / 10:
                    choice[c] = new
                    taken[old], taken[new] = False, True
                    n_sharing = n_partners + self.sharing[new]
                    n_pairs += int(n_partners[new] - n_partners[old])
                    moved = True
            if not moved:
                break
        return choice

    def enough(self, required: int) -> np.ndarray | None:
        """Best choice found with at least `required` pairs, or None."""
        choice = self.respond(self.initial, 0.0)
        if self.count(choice) >= required:
            return choice
        low, high = 0.0, float(np.ptp(self.value, axis=1).max()) / 16
        feasible: list[np.ndarray] = []
        while not feasible and high < FORBIDDEN:
            choice = self.respond(choice, high)
            if self.count(choice) >= required:
                feasible.append(choice)
            else:
                low, high = high, 4 * high
                if high > 64 * max(float(np.ptp(self.value)), 1e-12):
                    return None
        for _ in range(BISECTIONS):
            price = (low + high) / 2
            choice = self.respond(self.initial, price)
            if self.count(choice) >= required:
                feasible.append(choice)
                high = price
            else:
                low = price
        polished = [self.respond(choice, 0.0, required) for choice in feasible]
        return max(polished, key=self.total)


def candidate_subsets(values: np.ndarray, n_per_class: int, start: np.ndarray) -> np.ndarray:
    """The subsets to choose from: the best of every class and those of the start, `[N, k]`."""
    per_class = max(MAX_CANDIDATES // len(values), 2)
    found = set(map(tuple, start.tolist()))
    for class_values in values:
        best = itertools.islice(ranked_subsets(class_values, n_per_class), per_class)
        found.update(subset for _, subset in best)
    return np.array(sorted(found))


def sharing_subsets(
    values: np.ndarray, n_per_class: int, required: int, named_pairs: np.ndarray
) -> np.ndarray | None:
    """Distinct subsets with at least `required` pairs that share k - 1, `[C, k]`, or None.

    Args:
        values: value of every selected feature for every class, `[C, n]`.
        n_per_class: size of the subsets k.
        required: how many pairs of classes must share exactly k - 1 features.
        named_pairs: pairs preferred among equals.
    """
    assignment = PairAssignment(values, n_per_class, named_pairs)
    choice = assignment.enough(required)
    return None if choice is None else assignment.subsets[choice]
