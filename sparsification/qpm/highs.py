"""HiGHS (open source): proofs for small selection problems, independent of the search."""

import highspy
import numpy as np

from configs.errors import RunError
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.program import LinearProgram, collisions
from sparsification.qpm.progress import Progress
from sparsification.qpm.selection import Incumbent

RELATIVE_GAP = 1e-8


def highs(problem: SelectionProblem, progress: Progress, seed: int) -> tuple[Incumbent, float]:
    """Best selection that HiGHS finds on the linearised program, and its upper bound.

    Raises:
        RunError: if it finds no feasible selection in time.
    """
    distinct_pairs: set[tuple[int, int]] = set()
    while True:
        program = LinearProgram(problem, distinct_pairs)
        values, bound = optimise(program, progress, seed)
        best = None if values is None else program.incumbent(values)
        repeated = collisions(best.subsets) if best else set()
        if best and not repeated:
            progress.improved(best.objective)
            return best, bound
        if best is None or progress.expired:
            raise RunError(
                f"HiGHS found no feasible selection in {progress.elapsed:.0f} s; "
                "raise the time limit or use --solver search"
            )
        distinct_pairs |= repeated


def optimise(
    program: LinearProgram, progress: Progress, seed: int
) -> tuple[np.ndarray | None, float]:
    """Best solution of the program, None if there is none in time, and the upper bound."""
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("random_seed", seed)
    solver.setOptionValue("mip_rel_gap", RELATIVE_GAP)
    solver.setOptionValue("time_limit", max(progress.time_limit - progress.elapsed, 0.0))
    solver.passModel(model_of(program))
    watch(solver, progress)
    solver.solve()
    solution, info = solver.getSolution(), solver.getInfo()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    return (np.array(solution.col_value) if found else None), info.mip_dual_bound


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


def watch(solver: highspy.Highs, progress: Progress) -> None:
    """Report while HiGHS runs, and stop it when the user has interrupted."""

    def look(event) -> None:
        state = event.data_out
        progress.report(f"objective {state.mip_primal_bound:.3f}, bound {state.mip_dual_bound:.3f}")
        if progress.expired:
            event.data_in.user_interrupt = True

    solver.cbMipInterrupt.subscribe(look)
