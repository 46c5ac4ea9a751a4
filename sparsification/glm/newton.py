"""Sparse linear classifiers by alternating proximal and Newton steps.

A proximal step finds which weights are non-zero; a Newton step on those, where the penalty is smooth, then moves far
(Bareilles, Iutzeler and Malick, "Newton acceleration on manifolds identified by proximal gradient methods", Math.
Programming 2023, arXiv 2012.12936). Both use each class's diagonal block of the Hessian, which contains how features
correlate but not how classes compete: it is the metric of the proximal step, as in glmnet (Friedman, Hastie and
Tibshirani, J. Stat. Software 2010), and the preconditioner of the conjugate gradients that solve the Newton system. A
proximal step that ignored the correlations would find the non-zero weights of nearly collinear features only a few at a
time.
"""

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from sparsification.glm.datafit import CrossEntropy
from sparsification.glm.penalty import ElasticNet

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # largest violation of the optimality conditions, relative to strength * alpha
MAX_ROUNDS = 200  # far above the usual 1 to 10
MAX_SWEEPS = 15  # of coordinate descent, which needs no pass over the samples; the Newton step does the rest
SWEEP_LENGTH = 0.1  # a sweep that is shorter than this, relative to the first, is the last
MAX_CONJUGATE_STEPS = 50
NEWTON_RESIDUAL = 0.1  # of the Newton system, relative: a rough step saves more than it loses
NEWTON_LENGTHS = (1.0, 0.5, 0.25, 0.125)
DAMPING = 1e-4  # of the class blocks, relative to the largest curvature of the class


class _Point(NamedTuple):
    coefficients: Tensor  # [C, F + 1]
    loss: float
    gradient: Tensor  # [C, F + 1], of the loss
    objective: float


class ProximalNewton:
    """Minimises datafit + penalty; carries its step size over from one problem to the next."""

    def __init__(self):
        self._stiffness = 1.0  # of the loss in units of its class blocks; found by backtracking

    def minimise(self, datafit: CrossEntropy, penalty: ElasticNet, strength: float, start: Tensor) -> Tensor:
        """The coefficients that minimise `datafit + penalty` at this strength, from a warm start."""
        problem = _Problem(datafit, penalty, strength)
        point = problem.at(start)
        for _ in range(MAX_ROUNDS):
            if penalty.violation(point.coefficients, point.gradient, strength) <= TOLERANCE:
                return point.coefficients
            point = self._proximal_step(problem, point)
            point = _newton_step(problem, point)
        log.warning("not converged after %d rounds at strength %.3g", MAX_ROUNDS, strength)
        return point.coefficients

    def _proximal_step(self, problem: "_Problem", origin: _Point) -> _Point:
        """The minimum of the penalty and a quadratic bound of the loss, stiff enough to be one."""
        self._stiffness = max(1.0, self._stiffness / 2)
        while True:
            metric = self._stiffness * problem.metric(origin.coefficients)
            step = _quadratic_minimum(origin, metric, problem.penalty, problem.strength)
            reached = problem.at(origin.coefficients + step)
            curved = torch.bmm(metric, step[:, :, None])[:, :, 0]
            rise = ((origin.gradient + curved / 2) * step).sum()
            if reached.loss <= origin.loss + rise.item() + 1e-12:  # above rounding
                return reached
            self._stiffness *= 2


def _quadratic_minimum(origin: _Point, metric: Tensor, penalty: ElasticNet, strength: float) -> Tensor:
    """The step `[C, F + 1]` to the approximate minimum of the penalty and the loss's quadratic model.

    Coordinate descent, one feature at a time for all classes at once, since `metric` does not couple classes.
    """
    coupling = metric.permute(1, 2, 0).contiguous()  # [F + 1, F + 1, C]
    curvature = penalty.largest_of_group(metric.diagonal(dim1=1, dim2=2)).T.contiguous()
    strengths = strength / curvature
    strengths[-1] = 0  # the biases
    coefficients, slope = origin.coefficients.T.contiguous(), origin.gradient.T.contiguous()
    first_length = None
    for _ in range(MAX_SWEEPS):
        before = coefficients.clone()
        features = zip(coefficients, slope, curvature, strengths, coupling, strict=True)
        for here, rise, curve, strength_here, to_all in features:  # [C] each, to_all [F + 1, C]
            there = penalty.prox(here - rise / curve, strength_here)
            slope.addcmul_(to_all, there - here)
            here.copy_(there)
        length = (curvature * (coefficients - before).square()).sum().sqrt().item()
        first_length = first_length or length
        if length <= SWEEP_LENGTH * first_length:
            break
    return coefficients.T - origin.coefficients


class _Problem:
    """Datafit and penalty at one strength, with the class blocks of their Hessian."""

    def __init__(self, datafit: CrossEntropy, penalty: ElasticNet, strength: float):
        self.datafit, self.penalty, self.strength = datafit, penalty, strength
        self._blocks: Tensor | None = None

    def at(self, coefficients: Tensor) -> _Point:
        loss, gradient = self.datafit.value_and_gradient(coefficients)
        objective = loss + self.penalty.value(coefficients, self.strength)
        return _Point(coefficients, loss, gradient, objective)

    def metric(self, coefficients: Tensor) -> Tensor:
        """The class blocks `[C, F + 1, F + 1]` of the loss's Hessian, damped.

        They are those of the first call: they change little at one strength.
        """
        if self._blocks is None:
            self._blocks = self.datafit.curvature(coefficients).class_blocks().double()
            diagonal = self._blocks.diagonal(dim1=1, dim2=2)  # a view
            diagonal += DAMPING * diagonal.amax(1, keepdim=True) + 1e-12
        return self._blocks

    def preconditioner(self, coefficients: Tensor, support: Tensor) -> Tensor:
        """The inverted class blocks `[C, F + 1, F + 1]` of the Hessian on the support."""
        blocks = self.metric(coefficients) * support[:, :, None] * support[:, None]
        diagonal = blocks.diagonal(dim1=1, dim2=2)  # a view
        diagonal += self.penalty.curvature_diagonal(coefficients, self.strength)
        diagonal.masked_fill_(~support, 1.0)
        return torch.cholesky_inverse(torch.linalg.cholesky(blocks)).float()


def _newton_step(problem: _Problem, origin: _Point) -> _Point:
    """A better point along the Newton direction, or `origin` if there is none.

    Weights that would change their sign stop at 0. If that spoils the step for the others, the step ends where the
    first of them reaches 0 and leaves the support.
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
    curvature = datafit.curvature(origin.coefficients)
    support = penalty.support(origin.coefficients)
    inverse = problem.preconditioner(origin.coefficients, support)
    gradient = origin.gradient + penalty.gradient(origin.coefficients, strength)
    coefficients = origin.coefficients.float()

    def curvature_product(direction: Tensor) -> Tensor:
        of_loss = curvature.product(direction)
        return (of_loss + penalty.curvature_product(coefficients, direction, strength)) * support

    def precondition(vector: Tensor) -> Tensor:
        return torch.bmm(inverse, vector[:, :, None])[:, :, 0] * support

    return _conjugate_gradients(curvature_product, precondition, (-gradient * support).float()).double()


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
