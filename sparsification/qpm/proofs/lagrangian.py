"""Upper bound on the objective by multipliers of the classes and of the named pairs.

The k largest gains of a class among the selected features sum to min_m (k m + sum_{f in S} max(gain[c, f] - m, 0)), as
in the p-median problem. With any fixed multipliers m_c the classes therefore decouple into one score per feature,

    V(S) <= k sum_c m_c + sum_{f in S} (sum_c max(gain[c, f] - m_c, 0) + b_f) - penalties within S.

Named pairs must share exactly k - 1 features: sum_f w_cf w_df = k - 1 for the 0/1 use w. Each such equation has a
multiplier p of either sign, and a component of classes tied by named pairs scores

    max over w in {0, 1}^K of sum_c (gain[c, f] - m_c) w_c + sum_{pairs c, d} p_cd w_c w_d

per feature, while the constant becomes k sum m - (k - 1) sum p. This holds for every selection that keeps the rule: its
w_.f is one of the 0/1 vectors if f is selected, and zero, contributing nothing, if not. The maximum over the 2^K uses
is found for all features at once by eliminating one class after another.
"""

from dataclasses import dataclass

import numpy as np

from sparsification.qpm.components import Component
from sparsification.qpm.problem import SelectionProblem

# Steps at most, and array entries after which fewer are taken to stay below a second.
ITERATIONS, MAX_ENTRIES = 300, 30_000_000
# Length of the steps: at first this share of the range of the gains, then falling by the decay.
FIRST_STEP, DECAY = 0.1, 0.98
# Classes that the table of one elimination may span; pairs beyond it get no multiplier.
MAX_WIDTH = 8


def feature_scores(gain: np.ndarray, bias: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """Contribution of every feature to the bound for the given class multipliers `[C]`: `[F]`."""
    return np.maximum(gain - multipliers[:, None], 0.0).sum(axis=0) + bias


def class_multipliers(gain: np.ndarray, bias: np.ndarray, *, n_features: int, n_per_class: int) -> np.ndarray:
    """Class multipliers of nearly the least bound without named pairs, `[C]`, by subgradient steps."""
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


@dataclass(frozen=True)
class Multipliers:
    """Any values give a true bound."""

    classes: np.ndarray  # one per class, [C]
    pairs: np.ndarray  # one per named pair of every component, component after component, [P]


class Lagrangian:
    """Scores of the features under multipliers, of classes and of named pairs if these are forced.

    Args:
        forced: False leaves out the rule on pairs.
    """

    def __init__(self, problem: SelectionProblem, *, forced: bool = True):
        self.n_per_class = problem.n_per_class
        components, self.free = problem.components
        if not forced:
            components, self.free = [], np.arange(problem.n_classes)
        self.eliminations = [Elimination(component) for component in components]
        ends = np.cumsum([0, *(len(part.pairs) for part in self.eliminations)])
        self.slices = [slice(*ends[i : i + 2]) for i in range(len(components))]
        self.n_pairs = int(ends[-1])

    def component_constant(self, multipliers: Multipliers) -> float:
        """Contribution of the classes in named pairs to the bound, whatever the features."""
        k = self.n_per_class
        tied = np.delete(multipliers.classes, self.free)
        return float(k * tied.sum() - (k - 1) * multipliers.pairs.sum())

    def constant(self, multipliers: Multipliers) -> float:
        """Contribution of all classes to the bound, whatever the features."""
        alone = multipliers.classes[self.free]
        return self.component_constant(multipliers) + float(self.n_per_class * alone.sum())

    def component_scores(self, gain: np.ndarray, multipliers: Multipliers) -> np.ndarray:
        """Contribution of every feature, `[F]`, for the classes in named pairs; `gain` is `[C, F]`."""
        scores = np.zeros(gain.shape[1])
        for part, where in zip(self.eliminations, self.slices, strict=True):
            scores += part.scores(gain, multipliers.classes, multipliers.pairs[where])
        return scores

    def scores(self, gain: np.ndarray, bias: np.ndarray, multipliers: Multipliers) -> np.ndarray:
        """Contribution of every feature to the bound, `[F]`."""
        free = feature_scores(gain[self.free], bias, multipliers.classes[self.free])
        return free + self.component_scores(gain, multipliers)

    def demand(self, gain: np.ndarray, multipliers: Multipliers, share: np.ndarray) -> tuple[np.ndarray, Multipliers]:
        """Component scores, and how far the uses that attain them are from the rules.

        Args:
            gain: `[C, F]`.
            share: fraction to which each feature is selected, `[F]`.

        Returns:
            Scores `[F]`; features used beyond k by every class of a component (0 for all others) and shared beyond
            k - 1 by every pair, weighted by the share.
        """
        scores, excess = np.zeros(gain.shape[1]), np.zeros(len(gain))
        shared = np.zeros(self.n_pairs)
        for part, where in zip(self.eliminations, self.slices, strict=True):
            own, uses = part.best_uses(gain, multipliers.classes, multipliers.pairs[where])
            scores += own
            excess[part.classes] = uses @ share - self.n_per_class
            both = uses[part.pairs[:, 0]] & uses[part.pairs[:, 1]]
            shared[where] = both @ share - (self.n_per_class - 1)
        return scores, Multipliers(excess, shared)


class Elimination:
    """Best use of one feature by the classes of a component, for many features at once.

    A class with few neighbours is decided first, for each of their uses; its contribution is then a table over the
    neighbours. Pairs that would make a table wider than `MAX_WIDTH` are left out, as if their multiplier were 0, which
    keeps the bound valid.
    """

    def __init__(self, component: Component):
        self.classes = component.classes
        self.order, self.kept = elimination_order(len(component.classes), component.pairs)
        self.pairs = component.pairs[self.kept]

    def scores(self, gain: np.ndarray, classes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Score of every feature, `[F]`, from all gains `[C, F]`, class multipliers and own pairs'."""
        return self._eliminate(gain, classes, pairs)[0]

    def best_uses(self, gain: np.ndarray, classes: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores `[F]` and the use of every feature by every class that attains them, `[K, F]`."""
        scores, decisions = self._eliminate(gain, classes, pairs)
        uses = np.zeros((len(self.classes), len(scores)), dtype=np.int64)
        every = np.arange(len(scores))
        for c, others, better in reversed(decisions):
            uses[c] = better[(*(uses[d] for d in others), every)]
        return scores, uses

    def _eliminate(self, gain, classes, pairs):
        """Scores, and for each class in the order whether to use a feature given later classes."""
        own = gain[self.classes] - classes[self.classes, None]
        tables = [((c,), np.stack([np.zeros_like(row), row])) for c, row in enumerate(own)]
        for (c, d), reward in zip(self.pairs.tolist(), pairs, strict=True):
            tables.append(((c, d), np.array([[[0.0], [0.0]], [[0.0], [reward]]])))
        scores, decisions = np.zeros(gain.shape[1]), []
        for c in self.order:
            own_tables = [table for table in tables if c in table[0]]
            tables = [table for table in tables if c not in table[0]]
            others = sorted({d for scope, _ in own_tables for d in scope} - {c})
            joint = joined(own_tables, [c, *others], gain.shape[1])
            decisions.append((c, others, joint[1] > joint[0]))
            best = joint.max(axis=0)
            if others:
                tables.append((tuple(others), best))
            else:
                scores += best
        return scores, decisions


def joined(tables, scope: list[int], n_features: int) -> np.ndarray:
    """Sum of tables over uses of some classes, as a table over all of `scope`, `[2, ..., 2, F]`."""
    total = np.zeros((*[2] * len(scope), n_features))
    for classes, table in tables:
        order = sorted(range(len(classes)), key=lambda i: scope.index(classes[i]))
        shape = [2 if c in classes else 1 for c in scope]
        total += table.transpose([*order, len(classes)]).reshape(*shape, table.shape[-1])
    return total


def elimination_order(n_classes: int, pairs: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Classes in an order that keeps tables small (fewest neighbours first), and indices of the pairs kept."""
    kept = np.arange(len(pairs))
    while True:
        neighbours: dict[int, set[int]] = {c: set() for c in range(n_classes)}
        for c, d in pairs[kept].tolist():
            neighbours[c].add(d)
            neighbours[d].add(c)
        order: list[int] = []
        while neighbours:
            c = min(neighbours, key=lambda c: len(neighbours[c]))
            if len(neighbours[c]) > MAX_WIDTH:
                break
            around = neighbours.pop(c)
            for d in around:
                neighbours[d] |= around - {d}
                neighbours[d].discard(c)
            order.append(c)
        if not neighbours:
            return order, kept
        ends_left = np.isin(pairs[kept], list(neighbours)).sum(axis=1)
        kept = np.delete(kept, len(kept) - 1 - ends_left[::-1].argmax())
