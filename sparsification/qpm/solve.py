"""One entry to all solvers of the selection problem."""

import logging
from collections.abc import Callable

from configs.errors import UsageError
from sparsification.qpm.general.gurobi import gurobi
from sparsification.qpm.general.highs import highs
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress, Stopwatch
from sparsification.qpm.proofs.bound import Certificate
from sparsification.qpm.search.search import search
from sparsification.qpm.selection import Incumbent, Selection

log = logging.getLogger(__name__)

SOLVERS = ("auto", "search", "gurobi", "highs")


def solve(
    problem: SelectionProblem,
    solver: str = "auto",
    time_limit: float = 60.0,
    seed: int = 0,
    *,
    certificate: float = 0.0,
    on_improvement: Callable[[float, float], None] | None = None,
) -> Selection:
    """Best selection that the solver finds; it returns as soon as it has converged.

    `auto` is the search: it needs no licence, proves small problems, and on large ones the general solvers find nothing
    better (docs/selection.md).

    Args:
        solver: one of `SOLVERS`; `gurobi` starts from the result of the search.
        time_limit: seconds of computing after which the best selection so far is returned. Finding the problem's
            threshold, if it is not given, counts, but at least half of the time is left for the selection.
        seed: of all random choices; the same seed gives the same selection unless time runs out.
        certificate: seconds spent on the upper bound afterwards; 0: a weak bound that costs next to nothing.
        on_improvement: called with (seconds of computing, objective) at every new best selection.

    Raises:
        UsageError: if the solver is unknown or not available here.
        RunError: if no selection that keeps the rules was found; PairsImpossibleError if there is provably none.
    """
    if solver not in SOLVERS:
        raise UsageError(f"--solver {solver}: choose one of {', '.join(SOLVERS)}")
    solver = "search" if solver == "auto" else solver
    clock = Stopwatch()
    n_pairs, k = problem.n_required_pairs, problem.n_per_class
    sharing = f"; {n_pairs} pairs of classes are to share {k - 1} of their {k} features" if n_pairs else ""
    log.info(  # the threshold is computed here
        "Selection: two features count as redundant from a redundancy of %.4f%s.", problem.threshold, sharing
    )
    left = max(time_limit - clock.elapsed, time_limit / 2)
    with Progress(solver, left, seed, on_improvement) as progress:
        proof = Certificate(problem)
        best, bound = run(solver, problem, proof, progress, seed)
        seconds = progress.elapsed
    if min(bound, proof.bound) > best.objective and certificate:
        with Progress("certificate", certificate, seed) as progress:
            proof.tighten(progress, objective=best.objective)
    bound = max(min(bound, proof.bound), best.objective)
    selection = Selection(
        selected=best.members,
        weight=best.weight,
        objective=best.objective,
        upper_bound=bound,
        gap=(bound - best.objective) / max(abs(best.objective), 1e-12),
        solver=solver,
        seconds=seconds,
    )
    log_summary(problem, selection, seed)
    return selection


def run(
    solver: str, problem: SelectionProblem, proof: Certificate, progress: Progress, seed: int
) -> tuple[Incumbent, float]:
    """Best selection of one solver, and its upper bound."""
    if solver == "highs":
        return highs(problem, progress, seed)
    best, bound = search(problem, proof, progress, seed)
    if solver == "gurobi":
        return gurobi(problem, best, progress, seed)
    return best, bound


def log_summary(problem: SelectionProblem, selection: Selection, seed: int) -> None:
    """Log one line on the selection, and one on its pairs if the problem asks for any."""
    s, proved = selection, "proven to be the largest possible"
    if s.gap != 0.0:
        missing = f"gap {100 * s.gap:.2f} %: at most that much is missing"
        proved = f"no selection can exceed {s.upper_bound:.3f} ({missing})"
    numbers = (s.solver, s.objective, proved, s.seconds, seed)
    log.info("Selection by %s: objective %.3f, %s, %.1f s, seed %s", *numbers)
    if problem.n_required_pairs:
        log.info(
            "%d pairs of classes share %d of their %d features (%d required), %d of the %d most similar among them.",
            *(problem.count_pairs(selection.weight), problem.n_per_class - 1, problem.n_per_class),
            *(problem.n_required_pairs, problem.count_named_pairs(selection.weight), len(problem.named_pairs)),
        )
