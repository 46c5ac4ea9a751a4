"""Gurobi (commercial): improves the selection of the search, or proves it optimal, if a licence allows it."""

from functools import partial
from typing import Any

import numpy as np

from configs.errors import RunError, UsageError
from sparsification.qpm.general.program import Incumbents, LinearProgram, improve
from sparsification.qpm.problem import SelectionProblem
from sparsification.qpm.progress import Progress
from sparsification.qpm.selection import Incumbent

RELATIVE_GAP = 1e-8
ALTERNATIVES = "use --solver search (the default, needs no licence) or --solver highs"


def gurobi(problem: SelectionProblem, start: Incumbent, progress: Progress, seed: int) -> tuple[Incumbent, float]:
    """Best selection that Gurobi finds from a start, and its upper bound.

    Raises:
        UsageError: if gurobipy is not installed or its licence is missing or too small.
        RunError: if Gurobi fails for another reason.
    """
    try:
        import gurobipy
    except ImportError:
        raise UsageError(f"--solver gurobi needs the package gurobipy; {ALTERNATIVES}") from None
    incumbents = Incumbents(progress, start)
    try:
        bound = improve(problem, incumbents, partial(optimise, seed=seed))
    except gurobipy.GurobiError as error:
        if error.errno == gurobipy.GRB.Error.SIZE_LIMIT_EXCEEDED:
            raise UsageError(
                f"--solver gurobi: {problem.pool_size} features and {problem.n_classes} classes "
                f"are too many for the free licence; {ALTERNATIVES}"
            ) from None
        if error.errno == gurobipy.GRB.Error.NO_LICENSE:
            raise UsageError(f"--solver gurobi: no valid licence; {ALTERNATIVES}") from None
        raise RunError(f"Gurobi failed: {error}; {ALTERNATIVES}") from None
    return incumbents.best, bound


def optimise(program: LinearProgram, incumbents: Incumbents, *, seed: int) -> tuple[set[tuple[int, int]], float]:
    """Pairs of classes that collide in the best solution of the program, and the upper bound."""
    import gurobipy
    from gurobipy import GRB

    def look(model, where) -> None:
        if where == GRB.Callback.MIPSOL:
            incumbents.offer(program.incumbent(model.cbGetSolution(variables)))
        if where == GRB.Callback.MIP:
            objective = model.cbGet(GRB.Callback.MIP_OBJBST)
            bound = model.cbGet(GRB.Callback.MIP_OBJBND)
            progress.report(f"objective {objective:.3f}, bound {bound:.3f}")
            if progress.expired:
                model.terminate()

    progress, start = incumbents.progress, incumbents.best
    matrix, (lower, upper) = program.matrix, program.row_bounds
    with gurobipy.Env(params={"OutputFlag": 0}) as env, gurobipy.Model(env=env) as model:
        model.Params.Seed = seed
        model.Params.MIPGap = RELATIVE_GAP
        model.Params.TimeLimit = progress.left_on_clock
        cost: Any = program.cost
        kinds: Any = np.where(program.integer, GRB.BINARY, GRB.CONTINUOUS)
        variables: Any = model.addMVar(len(program.cost), lb=0.0, ub=1.0, obj=cost, vtype=kinds)
        model.ModelSense = GRB.MAXIMIZE
        equal = lower == upper
        above, below = np.isfinite(lower) & ~equal, np.isfinite(upper) & ~equal
        model.addConstr(matrix[equal] @ variables == lower[equal])
        model.addConstr(matrix[below] @ variables <= upper[below])
        if above.any():
            model.addConstr(matrix[above] @ variables >= lower[above])
        variables[program.selected].Start = np.isin(np.arange(len(program.selected)), start.members)
        uses = np.zeros(program.uses.shape)
        uses[:, start.members] = start.weight
        variables[program.uses.ravel()].Start = uses.ravel()
        model.optimize(look)
        repeated = incumbents.offer(program.incumbent(variables.X)) if model.SolCount else set()
        return repeated, model.ObjBound
