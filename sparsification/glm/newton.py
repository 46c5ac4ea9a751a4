"""Sparse linear classifiers by proximal gradient and Newton steps in turn.

A proximal gradient step finds which weights are non-zero; a Newton step on those, where the
penalty is smooth, then moves far (Bareilles, Iutzeler and Malick, "Newton acceleration on
manifolds identified by proximal gradient methods", Math. Programming 2023, arXiv 2012.12936).
The Newton system is solved by conjugate gradients. Their preconditioner, the block of the Hessian
that belongs to each class, knows how the features correlate and leaves out how classes compete.
"""

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from sparsification.glm.datafit import CrossEntropy
from sparsification.glm.penalty import ElasticNet

log = logging.getLogger(__name__)

MAX_ROUNDS = 200  # far above the usual 2 to 6
MAX_CONJUGATE_STEPS = 50
NEWTON_RESIDUAL = 0.1  # of the Newton system, relative: a rough step costs less than it loses
NEWTON_LENGTHS = (1.0, 0.5, 0.25, 0.125)
DAMPING = 1e-4  # of the preconditioner, relative to the largest curvature of the class


class _Point(NamedTuple):
    coefficients: Tensor  # [C, F + 1]
    loss: float
    residual: Tensor  # [N, C]
    objective: float


class ProximalNewton:
    """Minimises datafit + penalty; keeps its step size from one problem to the next.

    Args:
        tolerance: largest violation of the optimality conditions, relative to strength * alpha.
    """

    def __init__(self, tolerance: float = 1e-4):
        self.tolerance = tolerance
        self._curvature = 0.05  # of the loss; found by backtracking, so only a first guess

    def minimise(
        self, datafit: CrossEntropy, penalty: ElasticNet, strength: float, start: Tensor
    ) -> Tensor:
        """The coefficients of smallest `datafit + penalty` at this strength, from a warm start."""
        problem = _Problem(datafit, penalty, strength)
        point = problem.at(start)
        for _ in range(MAX_ROUNDS):
            gradient = datafit.gradient(point.residual)
            if penalty.violation(point.coefficients, gradient, strength) <= self.tolerance:
                return point.coefficients
            point = self._proximal_step(problem, point, gradient)
            point = _newton_step(problem, point)
        log.warning("not converged after %d rounds at strength %.3g", MAX_ROUNDS, strength)
        return point.coefficients

    def _proximal_step(self, problem: "_Problem", origin: _Point, gradient: Tensor) -> _Point:
        """One step of a length at which the loss stays below its quadratic bound."""
        self._curvature *= 0.7
        while True:
            downhill = origin.coefficients - gradient / self._curvature
            reached = problem.at(problem.penalty.prox(downhill, problem.strength / self._curvature))
            step = reached.coefficients - origin.coefficients
            rise = (gradient * step).sum() + self._curvature / 2 * step.square().sum()
            if reached.loss <= origin.loss + rise.item() + 1e-12:  # above rounding
                return reached
            self._curvature *= 2


class _Problem:
    """Datafit and penalty at one strength, with the preconditioner of their Hessian."""

    def __init__(self, datafit: CrossEntropy, penalty: ElasticNet, strength: float):
        self.datafit, self.penalty, self.strength = datafit, penalty, strength
        self._blocks: Tensor | None = None

    def at(self, coefficients: Tensor) -> _Point:
        loss, residual = self.datafit.value_and_residual(coefficients)
        objective = loss + self.penalty.value(coefficients, self.strength)
        return _Point(coefficients, loss, residual, objective)

    def preconditioner(self, probabilities: Tensor, coefficients: Tensor, support: Tensor):
        """The inverted class blocks `[C, F + 1, F + 1]` of the Hessian on the support.

        The blocks of the loss are those of the first call: they change little at one strength.
        """
        if self._blocks is None:
            self._blocks = self.datafit.curvature_blocks(probabilities).double()
        blocks = self._blocks * support[:, :, None] * support[:, None]
        diagonal = blocks.diagonal(dim1=1, dim2=2)  # a view
        damping = DAMPING * diagonal.amax(1, keepdim=True) + 1e-12
        diagonal += damping + self.penalty.curvature_diagonal(coefficients, self.strength)
        diagonal.masked_fill_(~support, 1.0)
        return torch.cholesky_inverse(torch.linalg.cholesky(blocks)).float()


def _newton_step(problem: _Problem, origin: _Point) -> _Point:
    """A better point along the Newton direction, or `origin` if there is none.

    Weights that would change their sign stop at 0. Where that spoils the step for the others, it
    ends at the first of them, which then leaves the support.
    """
    direction = _newton_direction(problem, origin)
    first_zero = problem.penalty.first_zero(origin.coefficients, direction)
    for length in (*NEWTON_LENGTHS, first_zero):
        reached = origin.coefficients + length * direction
        point = problem.at(problem.penalty.same_side(reached, origin.coefficients))
        if point.objective < origin.objective:
            return point
    return origin


def _newton_direction(problem: _Problem, origin: _Point) -> Tensor:
    """Minus the inverse Hessian times the gradient, on the support of `origin`, `[C, F + 1]`."""
    datafit, penalty, strength = problem.datafit, problem.penalty, problem.strength
    probabilities = datafit.probabilities(origin.residual)
    support = penalty.support(origin.coefficients)
    inverse = problem.preconditioner(probabilities, origin.coefficients, support)
    gradient = datafit.gradient(origin.residual) + penalty.gradient(origin.coefficients, strength)
    coefficients = origin.coefficients.float()

    def curvature_product(direction: Tensor) -> Tensor:
        of_loss = datafit.curvature_product(probabilities, direction)
        return (of_loss + penalty.curvature_product(coefficients, direction, strength)) * support

    def precondition(vector: Tensor) -> Tensor:
        return torch.bmm(inverse, vector[:, :, None])[:, :, 0] * support

    return _conjugate_gradients(
        curvature_product, precondition, (-gradient * support).float()
    ).double()


def _conjugate_gradients(multiply, precondition, target: Tensor) -> Tensor:
    """Rough solution of `multiply(solution) = target` by preconditioned conjugate gradients."""
    solution, residual = torch.zeros_like(target), target
    search = scaled = precondition(residual)
    size = first_size = (residual * scaled).sum()
    for _ in range(MAX_CONJUGATE_STEPS):
        product = multiply(search)
        curvature = (search * product).sum()
        if curvature <= 0:  # flat up to rounding
            break
        solution = solution + size / curvature * search
        residual = residual - size / curvature * product
        scaled = precondition(residual)
        size, previous = (residual * scaled).sum(), size
        if size <= NEWTON_RESIDUAL**2 * first_size:
            break
        search = scaled + size / previous * search
    return solution
