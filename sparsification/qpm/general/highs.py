"""HiGHS (open source): proofs for small selection problems, independent of the search."""

from functools import partial

import highspy
import numpy as np

from configs.errors import RunError
from sparsification.qpm.general.program import Incumbents, LinearProgram, improve
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.selection import Incumbent, no_selection

RELATIVE_GAP = 1e-8


class SilentHighs(highspy.Highs):
    """HiGHS without output; its banner would be printed with the callbacks, before options can be set."""

    def enableCallbacks(self) -> None:
        """Called last by the constructor."""
        self.silent()
        super().enableCallbacks()


def highs(problem: SelectionProblem, progress: Progress, seed: int) -> tuple[Incumbent, float]:
    """Best selection that HiGHS finds on the linearised program, and its upper bound.

    Raises:
        PairsImpossibleError: if it proves that there is none.
        RunError: if it finds none in time.
    """
    incumbents = Incumbents(progress)
    bound = improve(problem, incumbents, partial(optimise, seed=seed))
    if incumbents.best is None and bound == -np.inf:
        raise no_selection(problem, None)
    if incumbents.best is None:
        raise RunError(
            f"in {progress.elapsed:.0f} s HiGHS found no selection, but there may be one; "
            "raise --selection_seconds or use --solver search"
        )
    return incumbents.best, bound


def optimise(program: LinearProgram, incumbents: Incumbents, *, seed: int) -> tuple[set[tuple[int, int]], float]:
    """Pairs of classes that collide in the best solution of the program, and the upper bound; -inf if infeasible."""
    progress = incumbents.progress
    solver = SilentHighs()
    solver.setOptionValue("random_seed", seed)
    solver.setOptionValue("mip_rel_gap", RELATIVE_GAP)
    solver.setOptionValue("time_limit", progress.left_on_clock)
    solver.passModel(model_of(program))

    def improved(event) -> None:
        incumbents.offer(program.incumbent(np.array(event.data_out.mip_solution)))

    def look(event) -> None:
        state = event.data_out
        progress.report(f"objective {state.mip_primal_bound:.3f}, bound {state.mip_dual_bound:.3f}")
        if progress.expired:
            event.data_in.user_interrupt = True

    solver.cbMipImprovingSolution.subscribe(improved)
    solver.cbMipInterrupt.subscribe(look)
    solver.solve()
    info = solver.getInfo()
    if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return set(), -np.inf
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return set(), info.mip_dual_bound
    best = program.incumbent(np.array(solver.getSolution().col_value))
    return incumbents.offer(best), info.mip_dual_bound


def model_of(program: LinearProgram) -> highspy.HighsLp:
    """The program in the form that HiGHS reads."""
    matrix, (lower, upper) = program.matrix, program.row_bounds
    model = highspy.HighsLp()
    model.num_row_, model.num_col_ = matrix.shape
    model.sense_ = highspy.ObjSense.kMaximize
    model.col_cost_ = np.array(program.cost)
    model.col_lower_, model.col_upper_ = np.zeros(model.num_col_), np.ones(model.num_col_)
    model.row_lower_, model.row_upper_ = lower, upper
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = matrix.indptr
    model.a_matrix_.index_ = matrix.indices
    model.a_matrix_.value_ = matrix.data
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    model.integrality_ = [kinds[integer] for integer in program.integer]
    return model
