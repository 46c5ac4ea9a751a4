"""Certificate: an upper bound on every selection, from a semidefinite relaxation (`relaxation`).

Any positive semidefinite matrix `slack` and any multipliers `balance` of the row sums give a true bound, converged or
not: since <slack, X> >= 0 and the row sums hold,

    V(S) <= constant of the multipliers
            + (n largest of) [ score_f + slack_ff + (n - 1) balance_f + (n - 1 largest of row f of)
                               (slack - penalty / 2 - balance_f / 2 - balance_g / 2) ].

It is evaluated in float64 on all features, although the relaxation itself holds only the active ones; the others, with
neither slack nor balance, join when their bracket shows that they matter.
"""

import numpy as np

from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.proofs.lagrangian import Lagrangian, Multipliers, class_multipliers
from sparsification.qpm.proofs.relaxation import Relaxation

# Number of active features at first: a multiple of the selected ones, within limits; more join in later rounds.
ACTIVE_PER_FEATURE, LEAST_ACTIVE, MOST_ACTIVE = 8, 100, 320
# Iterations between two evaluations of the bound, and evaluations without notable gain before a round ends.
ITERATIONS_PER_BOUND = 25
REFRESHES = (50, 100, 150, 250)  # iterations after which features that matter join within a round
PATIENCE = 8
# A round continues while the bound falls by this fraction; later rounds stop altogether below it.
NOTABLE_GAIN = 2e-4
# Diagonal entry of X below which a feature may leave the relaxation.
NEGLIGIBLE = 1e-3
# Added to a bound, relative to its size, for the rounding of float64 sums.
ROUNDING = 1e-9


class Certificate:
    """The smallest bound so far on all selections that keep the rules of a problem.

    Args:
        problem: of its pair rule, only required named pairs lower the bound.
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
            objective: of the best known selection; the bound need not be smaller.
            time_share: share of the time limit after which to stop.
            iterations: of the relaxation, since its start, after which to stop.
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
        """Evaluate the bound of the relaxation and keep it if it is the smallest so far."""
        state = self.relaxation
        bound, self.brackets = self.evaluate(state.multipliers, state.active, state.slack, state.balance)
        self.bound = min(bound, self.bound)
        return bound

    def relevant(self) -> np.ndarray:
        """Features whose bracket or diagonal entry in X shows that they influence the bound."""
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
