"""The semidefinite relaxation of a selection, solved in its dual.

With X = x x' for the 0/1 vector x of selected features, every selection satisfies

    X positive semidefinite,  X >= 0,  n X_ff = sum_g X_fg,  trace X = n,

and the gains of the classes are bounded by multipliers of the classes and of the named pairs (see `lagrangian`), which
leaves a linear score for each feature. The relaxation

    max  sum_f score_f X_ff - 1/2 sum_fg penalty_fg X_fg

is solved by the alternating direction method (Wen, Goldfarb and Yin, "Alternating direction augmented Lagrangian
methods for semidefinite programming", 2010), while the multipliers drift towards those that fit the current diagonal of
X. It yields a matrix `slack`, positive semidefinite but for small errors, and multipliers `balance` of the row sums.
"""

import numpy as np
from numpy.typing import DTypeLike

from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.proofs.lagrangian import Lagrangian, Multipliers, feature_scores
from sparsification.qpm.proofs.negative_part import NegativePart

# Step length of the multiplier X (up to 1.618 converges), and of the class multipliers in the first iteration.
OVERRELAXATION = 1.6
FIRST_DRIFT = 0.1
DRIFT_HALVES_AFTER = 100
WEIGHT_PER_SCORE = 0.25
# Classes in named pairs, and the pairs, follow a subgradient instead: first step relative to the range of the gain,
# iterations after which it has halved, and share of the previous direction that is kept.
FIRST_STEP, STEP_HALVES_AFTER, MOMENTUM = 0.004, 200, 0.7


class Relaxation:
    """State of the alternating direction method on some features, the active ones; single precision halves its time."""

    def __init__(
        self,
        problem: SelectionProblem,
        lagrangian: Lagrangian,
        active: np.ndarray,
        multipliers: Multipliers,
        *,
        dtype: DTypeLike = np.float64,
    ):
        self.problem, self.active, self.dtype = problem, active, dtype
        self.price_by(lagrangian, multipliers)
        n, size = problem.n_features, len(active)
        self.gain, self.bias = problem.gain[:, active], problem.bias[active]
        self.half_penalty = (problem.penalty[np.ix_(active, active)] / 2).astype(dtype)
        self.penalty_sums = self.half_penalty.sum(axis=1)
        self.gain_range = np.ptp(problem.gain)
        self.descending = np.argsort(-self.gain, axis=1)
        share = n / size
        self.X = np.full((size, size), share**2, dtype=dtype)
        np.fill_diagonal(self.X, share)
        self.slack, self.sign_slack, self.target, self.negative = np.zeros((4, size, size), dtype=dtype)
        self.negative_part = NegativePart(size)
        self.balance = np.zeros(size, dtype=dtype)
        # Of the constraints in the augmented Lagrangian, inverted: at the scale of the scores.
        scores = lagrangian.scores(self.gain, self.bias, multipliers)
        self.weight = max(float(np.ptp(scores)) * WEIGHT_PER_SCORE, 1.0)
        self.n_steps = 0
        # Inner products of the constraint matrices: row sums and trace.
        products = np.full((size + 1, size + 1), 0.5)
        np.fill_diagonal(products, (n - 1) ** 2 + (size - 1) / 2)
        products[size, :], products[:, size], products[size, size] = n - 1, n - 1, size
        self.inverse_products = np.linalg.inv(products).astype(dtype)

    def price_by(self, lagrangian: Lagrangian, multipliers: Multipliers) -> None:
        """Score the features by these multipliers from now on."""
        self.lagrangian, self.multipliers = lagrangian, multipliers
        self.direction = Multipliers(np.zeros(self.problem.n_classes), np.zeros(lagrangian.n_pairs))

    def constraints(self, diagonal: np.ndarray, row_sums: np.ndarray) -> np.ndarray:
        """n times the diagonal less the row sums of a matrix, and its trace, `[active + 1]`."""
        return np.append(self.problem.n_features * diagonal - row_sums, diagonal.sum())

    def step(self) -> None:
        """One iteration of the alternating direction method and of the multipliers.

        Large arrays are written in place: to allocate them would take most of the time.
        """
        share = np.clip(np.diag(self.X), 0.0, 1.0)
        scores, excess = self.lagrangian.demand(self.gain, self.multipliers, share)
        alone = self.lagrangian.free
        scores += feature_scores(self.gain[alone], self.bias, self.multipliers.classes[alone])
        scores = scores.astype(self.dtype)
        residual = self.constraints(np.diag(self.X), self.X.sum(axis=1))
        residual[-1] -= self.problem.n_features
        dual = self._dual(scores, residual)
        self._set_target(scores, dual)
        roots = self.negative_part.roots(self.target)
        np.matmul(roots, roots.T, out=self.negative)
        np.add(self.target, self.negative, out=self.slack)
        change = self.negative
        change /= self.weight
        change -= self.X
        norms = (float(np.linalg.norm(residual)), self.weight * float(np.linalg.norm(change)))
        change *= OVERRELAXATION
        self.X += change
        self.balance = dual[:-1]
        self._drift(share, excess)
        self._balance_residuals(*norms)

    def _dual(self, scores: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Multipliers of the constraints, `[active + 1]`, for the present slack.

        The cost is half the penalty, less the scores on its diagonal.
        """
        excess = self.slack.sum(axis=1) + self.sign_slack.sum(axis=1) - self.penalty_sums + scores
        diagonal = np.diag(self.slack) + scores
        return -self.inverse_products @ (self.weight * residual + self.constraints(diagonal, excess))

    def _set_target(self, scores: np.ndarray, dual: np.ndarray) -> None:
        """Set `sign_slack` and `target`, whose positive part is the next slack, its negative one X times `-weight`."""
        half, n, target = dual[:-1] / 2, self.problem.n_features, self.target
        np.multiply(self.X, -self.weight, out=target)
        target += self.half_penalty
        target += half[:, None]
        target += half
        own = -scores - (n - 1) * dual[:-1] - dual[-1] - self.weight * np.diag(self.X)
        np.fill_diagonal(target, own)
        np.subtract(target, self.slack, out=self.sign_slack)
        np.maximum(self.sign_slack, 0.0, out=self.sign_slack)
        np.fill_diagonal(self.sign_slack, 0.0)
        target -= self.sign_slack

    def _drift(self, share: np.ndarray, excess: Multipliers) -> None:
        """Move the multipliers towards values at which the rules, weighted by X, are kept.

        For a class on its own, that is the gain exceeded by k features, counted by their share. In a component, excess
        use makes features more expensive, and too little sharing is rewarded.
        """
        reached = np.cumsum(share[self.descending], axis=1)
        rank = (reached < self.problem.n_per_class).sum(axis=1).clip(max=len(share) - 1)
        every = np.arange(len(self.gain))
        fitting = self.gain[every, self.descending[every, rank]]
        drift = FIRST_DRIFT / (1 + self.n_steps / DRIFT_HALVES_AFTER)
        step = FIRST_STEP * self.gain_range / (1 + self.n_steps / STEP_HALVES_AFTER)
        self.direction = Multipliers(
            MOMENTUM * self.direction.classes + (1 - MOMENTUM) * excess.classes,
            MOMENTUM * self.direction.pairs + (1 - MOMENTUM) * excess.pairs,
        )
        classes = self.multipliers.classes + step * self.direction.classes
        alone, before = self.lagrangian.free, self.multipliers.classes
        classes[alone] = before[alone] + drift * (fitting[alone] - before[alone])
        pairs = self.multipliers.pairs - step * self.direction.pairs
        self.multipliers = Multipliers(classes, pairs)

    def _balance_residuals(self, primal: float, dual: float) -> None:
        """Reweight the constraints from time to time if one residual lags far behind the other."""
        self.n_steps += 1
        if self.n_steps % 50 == 0 and self.n_steps <= 500:
            if primal > 2 * dual:
                self.weight *= 1.3
            elif dual > 2 * primal:
                self.weight /= 1.3

    def moved_to(self, active: np.ndarray) -> "Relaxation":
        """The same state on another set of active features; newcomers start at zero."""
        moved = Relaxation(self.problem, self.lagrangian, active, self.multipliers)
        moved.direction = self.direction
        _, here, there = np.intersect1d(self.active, active, return_indices=True)
        for name in ("X", "slack", "sign_slack"):
            matrix = np.zeros((len(active), len(active)))
            matrix[np.ix_(there, there)] = getattr(self, name)[np.ix_(here, here)]
            setattr(moved, name, matrix)
        moved.weight, moved.n_steps = self.weight, self.n_steps
        return moved
