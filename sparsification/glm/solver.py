"""Accelerated proximal gradient descent for sparse linear classifiers.

FISTA (Beck and Teboulle, SIAM J. Imaging Sciences 2009) with backtracking and the adaptive restart
of O'Donoghue and Candes (Found. Comput. Math. 2015), from a warm start.
"""

import math

from sparsification.glm.datafit import CrossEntropy, Layer
from sparsification.glm.penalty import ElasticNet

CHECK_EVERY = 10  # iterations between two looks at the optimality conditions


class Fista:
    """Minimises datafit + penalty; keeps its step size from one problem to the next.

    Args:
        tolerance: largest violation of the optimality conditions, relative to strength * alpha.
        max_iterations: bound on the iterations for one problem.
    """

    def __init__(self, tolerance: float = 1e-3, max_iterations: int = 10_000):
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self._curvature = 0.05  # of the loss; found by backtracking, so only a first guess

    def minimise(
        self, datafit: CrossEntropy, penalty: ElasticNet, strength: float, start: Layer
    ) -> Layer:
        """The layer of smallest `datafit + penalty` at this strength, from a warm start."""
        current = ahead = start
        momentum = 1.0
        for iteration in range(self.max_iterations):
            if iteration % CHECK_EVERY == 0 and self._optimal(datafit, penalty, strength, current):
                break
            following = self._step(datafit, penalty, strength, ahead)
            if _inner(_minus(ahead, following), _minus(following, current)) > 0:
                momentum = 1.0  # the momentum points uphill: restart
            grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = _plus(following, (momentum - 1) / grown, _minus(following, current))
            current, momentum = following, grown
        return current

    def _step(self, datafit, penalty, strength, origin: Layer) -> Layer:
        """One proximal gradient step with the largest step size the loss allows."""
        value, gradient = datafit.value_and_gradient(origin)
        self._curvature *= 0.98
        while True:
            weight, bias = _plus(origin, -1 / self._curvature, gradient)
            reached = Layer(penalty.prox(weight, strength / self._curvature), bias)
            step = _minus(reached, origin)
            bound = value + _inner(gradient, step) + self._curvature / 2 * _inner(step, step)
            if datafit.value(reached) <= bound + 1e-12:
                return reached
            self._curvature *= 2

    def _optimal(self, datafit, penalty, strength, layer: Layer) -> bool:
        gradient = datafit.value_and_gradient(layer)[1]
        violation = max(
            penalty.violation(layer.weight, gradient.weight, strength),
            gradient.bias.abs().max().item() / (strength * penalty.alpha),
        )
        return violation <= self.tolerance


def _plus(layer: Layer, factor: float, other: Layer) -> Layer:
    return Layer(layer.weight + factor * other.weight, layer.bias + factor * other.bias)


def _minus(layer: Layer, other: Layer) -> Layer:
    return _plus(layer, -1.0, other)


def _inner(layer: Layer, other: Layer) -> float:
    return ((layer.weight * other.weight).sum() + (layer.bias * other.bias).sum()).item()
