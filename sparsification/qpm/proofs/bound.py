"""Certificate: an upper bound on every selection, from a semidefinite relaxation.

With X = x x' for the 0/1 vector x of selected features, every selection satisfies

    X positive semidefinite,  X >= 0,  n X_ff = sum_g X_fg,  trace X = n,

and what the classes gain is bounded by multipliers of the classes and of the named pairs (see
`lagrangian`), which leave a linear score for each feature. The relaxation

    max  sum_f score_f X_ff - 1/2 sum_fg penalty_fg X_fg

is solved in its dual by the alternating direction method (Wen, Goldfarb and Yin, "Alternating
direction augmented Lagrangian methods for semidefinite programming", 2010), while the multipliers
drift towards those that fit the current diagonal of X. It yields a positive semidefinite matrix
`slack` and multipliers `balance` of the row sums. Any such pair gives a true bound, converged or
not: since <slack, X> >= 0 and the row sums hold,

    V(S) <= constant of the multipliers
            + (n largest of) [ score_f + slack_ff + (n - 1) balance_f + (n - 1 largest of row f of)
                               (slack - penalty / 2 - balance_f / 2 - balance_g / 2) ].

It is evaluated in float64 on all features, although the relaxation itself only holds the active
ones; the others, with neither slack nor balance, join when their bracket shows that they matter.
"""

import numpy as np
from scipy.linalg import eigh

from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.proofs.lagrangian import Lagrangian, Multipliers, class_multipliers, feature_scores

# Features that the relaxation holds at first: some for each that is selected, within limits; more
# join in later rounds.
ACTIVE_PER_FEATURE, LEAST_ACTIVE, MOST_ACTIVE = 8, 100, 320
# Iterations between two evaluations of the bound, and evaluations without notable gain before a
# round ends.
ITERATIONS_PER_BOUND = 25
REFRESHES = (50, 100, 150, 250)  # iterations after which features that matter join within a round
PATIENCE = 8
# A round continues while the bound falls by this fraction; later rounds stop altogether below it.
NOTABLE_GAIN = 2e-4
# Diagonal entry of X below which a feature may leave the relaxation.
NEGLIGIBLE = 1e-3
# Step length of the multiplier X (up to 1.618 converges), and of the class multipliers in the first
# iteration.
OVERRELAXATION = 1.6
FIRST_DRIFT = 0.1
DRIFT_HALVES_AFTER = 100
WEIGHT_PER_SCORE = 0.25
# Classes in named pairs, and the pairs, go down a subgradient instead: first step in ranges of the
# gain, iterations after which it has halved, and share of the previous direction that is kept.
FIRST_STEP, STEP_HALVES_AFTER, MOMENTUM = 0.008, 200, 0.7
# Added to a bound, relative to its size, for the rounding of float64 sums.
ROUNDING = 1e-9


class Certificate:
    """The least bound so far on every selection that keeps the rules of a problem.

    Args:
        problem: what to bound; of the pair rule, only forced named pairs lower the bound.
    """

    def __init__(self, problem: SelectionProblem):
        self.problem = problem
        self.lagrangian = Lagrangian(problem)
        classes = class_multipliers(
            problem.gain, problem.bias, n_features=problem.n_features, n_per_class=problem.n_per_class
        )
        first = Multipliers(classes, np.zeros(self.lagrangian.n_pairs))
        # Without slack and balance a row of the bracket holds penalties only.
        self.penalty_part = largest_sum(-problem.penalty / 2, problem.n_features - 1)
        self.bound, self.brackets = self.evaluate(first)
        n_active = max(ACTIVE_PER_FEATURE * problem.n_features, LEAST_ACTIVE)
        n_active = min(n_active, MOST_ACTIVE, problem.pool_size)
        active = np.sort(np.argsort(-self.brackets)[:n_active])
        self.relaxation = Relaxation(problem, self.lagrangian, active, first)

    def tighten(
        self, progress: Progress, *, objective: float = -np.inf, time_share: float = 1.0, iterations: float = np.inf
    ) -> None:
        """Lower the bound until it has converged.

        Args:
            progress: the clock.
            objective: of the best known selection; the bound need not be smaller.
            time_share: of the time limit, after which it ends.
            iterations: of the relaxation, from its start, after which it ends.
        """
        before = np.inf
        while self.bound < before * (1 - NOTABLE_GAIN) or before == np.inf:
            before = self.bound
            # Newcomers raise the bound at first: a round has its own best.
            stale, lowest = 0, np.inf
            while stale < PATIENCE:
                done = self.bound <= objective or self.relaxation.n_steps >= iterations
                if done or progress.spent(time_share):
                    return
                for _ in range(ITERATIONS_PER_BOUND):
                    self.relaxation.step()
                bound = self.update()
                notable = bound < lowest - abs(bound) * NOTABLE_GAIN / PATIENCE
                stale, lowest = (0, bound) if notable else (stale + 1, lowest)
                if self.relaxation.n_steps in REFRESHES:
                    self.relaxation = self.relaxation.moved_to(self.relevant())
                    stale, lowest = 0, np.inf
                progress.report(describe_bound(self.bound, objective))
            self.relaxation = self.relaxation.moved_to(self.relevant())

    def evaluate(
        self,
        multipliers: Multipliers,
        active: np.ndarray | None = None,
        slack: np.ndarray | None = None,
        balance: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Bound, true for any arguments, and the bracket of every feature in it, `[F]`.

        Args:
            multipliers: of classes and named pairs.
            active: features that have slack and balance; None for no feature.
            slack: positive semidefinite, `[active, active]`.
            balance: multipliers of the row sums, `[active]`.
        """
        problem, n = self.problem, self.problem.n_features
        scores = self.lagrangian.scores(problem.gain, problem.bias, multipliers)
        brackets = scores + self.penalty_part
        if active is not None:
            rows = -problem.penalty[active] / 2  # (active, F)
            rows[:, active] += slack - (balance[:, None] + balance) / 2
            own = np.diag(slack) + (n - 1) * balance
            rows[np.arange(len(active)), active] = -np.inf
            brackets[active] += own + largest_sum(rows, n - 1) - self.penalty_part[active]
        bound = self.lagrangian.constant(multipliers) + float(largest_sum(brackets[None], n)[0])
        return bound + ROUNDING * abs(bound), brackets

    def update(self) -> float:
        """Evaluate the bound of the relaxation and keep it if it is the least so far."""
        state = self.relaxation
        bound, self.brackets = self.evaluate(state.multipliers, state.active, state.slack, state.balance)
        self.bound = min(bound, self.bound)
        return bound

    def relevant(self) -> np.ndarray:
        """Features whose bracket or share in X says that they shape the bound."""
        n = self.problem.n_features
        bar = -np.partition(-self.brackets, n - 1)[n - 1]
        relevant = self.brackets >= bar - 0.01 * abs(bar)
        relevant[self.relaxation.active[np.diag(self.relaxation.X) > NEGLIGIBLE]] = True
        return np.flatnonzero(relevant)


def describe_bound(bound: float, objective: float) -> str:
    """The bound, and the gap if an objective is known, for a log line."""
    if not np.isfinite(objective):
        return f"upper bound {bound:.3f}"
    gap = 100 * (bound - objective) / max(abs(objective), 1e-12)
    return f"upper bound {bound:.3f}, gap {gap:.2f} %"


def largest_sum(rows: np.ndarray, count: int) -> np.ndarray:
    """Sum of the `count` largest entries of every row."""
    if count == 0:
        return np.zeros(len(rows))
    return -np.partition(-rows, count - 1, axis=1)[:, :count].sum(axis=1)


class Relaxation:
    """State of the alternating direction method on the active features.

    Args:
        problem: what is relaxed.
        active: indices of the features held.
        lagrangian: turns multipliers into scores.
        multipliers: the first ones.
    """

    def __init__(self, problem: SelectionProblem, lagrangian: Lagrangian, active: np.ndarray, multipliers: Multipliers):
        self.problem, self.lagrangian = problem, lagrangian
        self.active, self.multipliers = active, multipliers
        self.direction = Multipliers(np.zeros(problem.n_classes), np.zeros(lagrangian.n_pairs))
        n, size = problem.n_features, len(active)
        self.gain, self.bias = problem.gain[:, active], problem.bias[active]
        self.half_penalty = problem.penalty[np.ix_(active, active)] / 2
        self.gain_range = np.ptp(problem.gain)
        self.descending = np.argsort(-self.gain, axis=1)
        share = n / size
        self.X = np.full((size, size), share**2)
        np.fill_diagonal(self.X, share)
        self.slack, self.sign_slack = np.zeros((size, size)), np.zeros((size, size))
        self.balance = np.zeros(size)
        # Of the constraints in the augmented Lagrangian, inverted: at the scale of the scores.
        scores = lagrangian.scores(self.gain, self.bias, multipliers)
        self.weight = max(float(np.ptp(scores)) * WEIGHT_PER_SCORE, 1.0)
        self.n_steps = 0
        # Inner products of the constraint matrices: row sums and trace.
        products = np.full((size + 1, size + 1), 0.5)
        np.fill_diagonal(products, (n - 1) ** 2 + (size - 1) / 2)
        products[size, :], products[:, size], products[size, size] = n - 1, n - 1, size
        self.inverse_products = np.linalg.inv(products)

    def constraints(self, matrix: np.ndarray) -> np.ndarray:
        """n times the diagonal less the row sums, and the trace, `[active + 1]`."""
        diagonal = np.diag(matrix)
        return np.append(self.problem.n_features * diagonal - matrix.sum(axis=1), diagonal.sum())

    def adjoint(self, dual: np.ndarray) -> np.ndarray:
        """The matrix that the constraint multipliers add up to."""
        matrix = -(dual[:-1, None] + dual[:-1]) / 2
        np.fill_diagonal(matrix, (self.problem.n_features - 1) * dual[:-1] + dual[-1])
        return matrix

    def step(self) -> None:
        """One iteration of the alternating direction method and of the multipliers."""
        share = np.clip(np.diag(self.X), 0.0, 1.0)
        scores, excess = self.lagrangian.demand(self.gain, self.multipliers, share)
        alone = self.lagrangian.free
        scores += feature_scores(self.gain[alone], self.bias, self.multipliers.classes[alone])
        cost = self.half_penalty - np.diag(scores)
        residual = self.constraints(self.X)
        residual[-1] -= self.problem.n_features
        dual = -self.inverse_products @ (self.weight * residual + self.constraints(self.slack + self.sign_slack - cost))
        free = cost - self.adjoint(dual) - self.weight * self.X
        self.sign_slack = np.maximum(free - self.slack, 0.0)
        np.fill_diagonal(self.sign_slack, 0.0)
        target = free - self.sign_slack
        values, vectors = eigh(target, check_finite=False, driver="evd")
        roots = vectors[:, values > 0] * np.sqrt(values[values > 0])
        self.slack = roots @ roots.T
        change = (self.slack - target) / self.weight - self.X
        self.X += OVERRELAXATION * change
        self.balance = dual[:-1]
        self._drift(share, excess)
        norms = (float(np.linalg.norm(residual)), self.weight * float(np.linalg.norm(change)))
        self._balance_residuals(*norms)

    def _drift(self, share: np.ndarray, excess: Multipliers) -> None:
        """Move the multipliers to where the rules, weighted by X, are kept.

        For a class on its own that is what k features, added up by their share, gain more than. In
        a component, excess use makes features dearer and too little sharing rewards it.
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
        """Reweight the constraints, now and then, if one residual lags far behind the other."""
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
