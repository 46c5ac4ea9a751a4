"""Certificate: an upper bound on every selection, from a semidefinite relaxation (`relaxation`).

Any positive semidefinite matrix `slack` and any multipliers `balance` of the row sums, of all features, give a true
bound, converged or not: since <slack, X> >= 0 and the row sums hold,

    V(S) <= constant of the multipliers
            + (n largest of) [ score_f + slack_ff + (n - 1) balance_f + (n - 1 largest of row f of)
                               (slack - penalty / 2 - balance_f / 2 - balance_g / 2) ].

It is evaluated in float64. Where only some features have slack and balance, as in the relaxation that sets the first
prices of a search, the same sum says which features matter; it is no bound then, as the row sums reach beyond these.
"""

import numpy as np
from scipy.linalg import eigh

from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.proofs.lagrangian import Lagrangian, Multipliers, class_multipliers
from sparsification.qpm.proofs.relaxation import Relaxation

# Features that the relaxation holds for prices: at first some for each that is selected, within limits.
ACTIVE_PER_FEATURE, LEAST_ACTIVE, MOST_ACTIVE = 8, 100, 320
# Iterations that set them, and after how many the features that matter are chosen again.
ITERATIONS_OF_PRICES, ITERATIONS_PER_CHOICE = 200, 50
# Iterations before named pairs count: their multipliers go astray while X is far from a selection.
ITERATIONS_WITHOUT_RULE = 20
# Iterations between two evaluations of the bound, and evaluations without notable gain before it ends.
ITERATIONS_PER_BOUND = 50
PATIENCE = 4
# What is notable: the bound falls by this fraction over all of these evaluations.
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
        self.lagrangian, self.without_rule = Lagrangian(problem), Lagrangian(problem, forced=False)
        classes = class_multipliers(
            problem.gain, problem.bias, n_features=problem.n_features, n_per_class=problem.n_per_class
        )
        # Of classes alone, and of classes and named pairs.
        self.first = Multipliers(classes, np.zeros(0))
        self.prices = Multipliers(classes, np.zeros(self.lagrangian.n_pairs))
        # Without slack and balance a row of the bracket holds penalties only.
        self.penalty_part = largest_sum(-problem.penalty / 2, problem.n_features - 1)
        self.bound, _ = self.evaluate(self.without_rule, self.first)

    def first_prices(self, progress: Progress, time_share: float) -> Multipliers:
        """Multipliers of nearly the least bound, from a relaxation on the features that matter most.

        Args:
            time_share: of the time limit, after which it ends.
        """
        problem, n = self.problem, self.problem.n_features
        n_active = min(max(ACTIVE_PER_FEATURE * n, LEAST_ACTIVE), MOST_ACTIVE, problem.pool_size)
        _, brackets = self.evaluate(self.lagrangian, self.prices)
        active = np.sort(np.argsort(-brackets)[:n_active])
        state = Relaxation(problem, self.lagrangian, active, self.prices)
        while state.n_steps < ITERATIONS_OF_PRICES and not progress.spent(time_share):
            if state.n_steps:
                state = state.moved_to(self.relevant(state))
            for _ in range(ITERATIONS_PER_CHOICE):
                state.step()
        self.prices = state.multipliers
        return self.prices

    def tighten(self, progress: Progress, *, objective: float = -np.inf, iterations: float = np.inf) -> None:
        """Lower the bound until it has converged.

        Args:
            objective: of the best known selection; the bound need not be smaller.
            iterations: of the relaxation, after which it ends.
        """
        every = np.arange(self.problem.pool_size)
        state = Relaxation(self.problem, self.without_rule, every, self.first, dtype=np.float32)
        stale, lowest = 0, np.inf
        while stale < PATIENCE and self.bound > objective and state.n_steps < iterations and not progress.expired:
            for _ in range(ITERATIONS_PER_BOUND):
                if self.lagrangian.n_pairs and state.n_steps == ITERATIONS_WITHOUT_RULE:
                    state.price_by(self.lagrangian, self.prices)
                state.step()
                if progress.expired:
                    break
            bound, _ = self.evaluate(state.lagrangian, state.multipliers, state)
            self.bound = min(bound, self.bound)
            notable = bound < lowest - abs(bound) * NOTABLE_GAIN / PATIENCE
            stale, lowest = (0, bound) if notable else (stale + 1, lowest)
            progress.report(describe_bound(self.bound, objective))

    def evaluate(
        self, lagrangian: Lagrangian, multipliers: Multipliers, state: Relaxation | None = None
    ) -> tuple[float, np.ndarray]:
        """The sum above, and the bracket of every feature in it, `[F]`.

        It is a true bound for any multipliers, if `state` has slack and balance of all features, or is None: of none.
        """
        problem, n = self.problem, self.problem.n_features
        brackets = lagrangian.scores(problem.gain, problem.bias, multipliers) + self.penalty_part
        if state is not None:
            active, balance = state.active, state.balance.astype(np.float64)
            slack = positive_semidefinite(state.slack)
            rows = -problem.penalty[active] / 2  # (active, F)
            rows[:, active] += slack - (balance[:, None] + balance) / 2
            own = np.diag(slack) + (n - 1) * balance
            rows[np.arange(len(active)), active] = -np.inf
            brackets[active] += own + largest_sum(rows, n - 1) - self.penalty_part[active]
        bound = lagrangian.constant(multipliers) + float(largest_sum(brackets[None], n)[0])
        return bound + ROUNDING * abs(bound), brackets

    def relevant(self, state: Relaxation) -> np.ndarray:
        """Features whose bracket or share in X says that they shape the bound."""
        n = self.problem.n_features
        _, brackets = self.evaluate(state.lagrangian, state.multipliers, state)
        bar = -np.partition(-brackets, n - 1)[n - 1]
        relevant = brackets >= bar - 0.01 * abs(bar)
        relevant[state.active[np.diag(state.X) > NEGLIGIBLE]] = True
        return np.flatnonzero(relevant)


def describe_bound(bound: float, objective: float) -> str:
    """The bound, and the gap if an objective is known, for a log line."""
    if not np.isfinite(objective):
        return f"upper bound {bound:.3f}"
    gap = 100 * (bound - objective) / max(abs(objective), 1e-12)
    return f"upper bound {bound:.3f}, gap {gap:.2f} %"


def positive_semidefinite(matrix: np.ndarray) -> np.ndarray:
    """The matrix without its negative eigenvalues: a product r r', so positive semidefinite in float64."""
    values, vectors = eigh(matrix, check_finite=False, driver="evd")
    roots = (vectors[:, values > 0] * np.sqrt(values[values > 0])).astype(np.float64)
    return roots @ roots.T


def largest_sum(rows: np.ndarray, count: int) -> np.ndarray:
    """Sum of the `count` largest entries of every row."""
    if count == 0:
        return np.zeros(len(rows))
    return -np.partition(-rows, count - 1, axis=1)[:, :count].sum(axis=1)
