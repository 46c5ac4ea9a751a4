"""One entry to all solvers of the selection problem."""

import logging
from collections.abc import Callable

from configs.errors import UsageError
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.search import search
from sparsification.qpm.selection import Selection

logger = logging.getLogger(__name__)

SOLVERS = ("auto", "search")


def solve(
    problem: SelectionProblem,
    solver: str = "auto",
    time_limit: float = 60.0,
    seed: int = 0,
    *,
    on_improvement: Callable[[float, float], None] | None = None,
) -> Selection:
    """Best selection that the solver finds; it returns as soon as it has converged.

    Args:
        problem: what to maximise.
        solver: one of `SOLVERS`.
        time_limit: seconds after which the best selection so far is returned.
        seed: of all random choices; the same seed gives the same selection unless time runs out.
        on_improvement: called with (seconds, objective) at every new best selection.

    Raises:
        UsageError: if the solver is not known.
        RunError: if no feasible selection was found.
    """
    if solver not in SOLVERS:
        raise UsageError(f"--solver {solver}: choose one of {', '.join(SOLVERS)}")
    with Progress("search", time_limit, seed, on_improvement) as progress:
        best, proven = search(problem, progress, seed)
    upper_bound = best.objective if proven else float("inf")
    selection = Selection(
        selected=best.members,
        weight=best.weight,
        objective=best.objective,
        upper_bound=upper_bound,
        gap=(upper_bound - best.objective) / max(abs(best.objective), 1e-12),
        solver="search",
        seconds=progress.elapsed,
    )
    logger.info(
        "%s: objective %.3f, upper bound %.3f (gap %.2f %%), %.1f s, seed %s",
        selection.solver,
        selection.objective,
        selection.upper_bound,
        100 * selection.gap,
        selection.seconds,
        seed,
    )
    return selection
