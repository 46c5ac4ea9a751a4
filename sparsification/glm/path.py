"""The choice of features, and ever denser linear layers on them.

Both follow Q-SENN (arXiv 2312.13839) and SLDD-Model (arXiv 2303.13166): minimise

    mean cross entropy + lambda * (alpha * sum |w| + (1 - alpha) / 2 * ||W||_F^2)

over weights `[C, F]` and unpenalised biases `[C]` on standardised features, for decreasing lambda. |w| is the 2-norm of
a feature's column while features are chosen, the absolute value afterwards. This is the objective of glm-saga, with its
scale of lambda.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from architectures.sparse_head import MIN_STD
from configs.errors import RunError
from configs.script import progress
from sparsification.glm.datafit import CrossEntropy
from sparsification.glm.newton import ProximalNewton
from sparsification.glm.penalty import ElasticNet
from sparsification.glm.saga import GlmSaga

SOLVERS: dict[str, type[ProximalNewton] | type[GlmSaga]] = {"newton": ProximalNewton, "glm_saga": GlmSaga}

SELECTION_PENALTY = ElasticNet(alpha=0.8, grouped=True)
PATH_ALPHA = 0.99
N_STRENGTHS = 100
SMALLEST_STRENGTH = 1e-3  # relative to the smallest strength that leaves no weight
# The choice of features starts at this share of the largest strength, and again there after every feature.
FIRST_CHOICE_STRENGTH = 0.1
NO_SIGNAL = 1e-12  # gradients of the loss below this are rounding errors


class Path(NamedTuple):
    """Layers of decreasing regularisation, on standardised features.

    `weights` `[L, C, F]`, `biases` `[L, C]` of mean 0, `lambdas` `[L]` (largest first).
    """

    weights: Tensor
    biases: Tensor
    lambdas: Tensor


def linear_problem(features, labels) -> CrossEntropy:
    """The loss of linear layers on these features.

    Args:
        features: pooled features `[N, F]`, not standardised; may be mapped from a file.
        labels: `[N]` integers, every class 0..C-1 present.

    Raises:
        ValueError: if shapes are wrong.
        RunError: if features are not finite or a class has no sample.
    """
    features = torch.as_tensor(features).detach()
    labels = torch.as_tensor(labels).to(features.device).long()
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(features) < 2:
        raise ValueError(
            f"features must be [N, F] with labels [N] and N at least 2, found "
            f"{tuple(features.shape)} and {tuple(labels.shape)}"
        )
    if labels.max() < 1:
        raise RunError("a sparse layer needs at least two classes among the training images")
    empty = (labels.bincount() == 0).nonzero()[:, 0].tolist()
    if empty:
        raise RunError(f"no training image of class {empty[0]} ({len(empty)} classes without)")
    datafit = CrossEntropy(features, labels)
    if not datafit.scale.mean.isfinite().all():
        raise RunError("some pooled features are not finite: the dense model has diverged")
    return datafit


def choose_features(features, labels, n_features: int, solver: str = "newton") -> Tensor:
    """Indices `[n_features]` of the chosen features, in the order in which they entered.

    lambda decreases, from a tenth of the value at which no feature is used, until a feature that is not yet in would
    lower the objective. Then only the one with the largest gradient enters, and lambda starts again; features that are
    in stay in. So the choice of 10 features begins with the choice of 5. If lambda reaches its end with too few,
    features keep entering there.

    Args:
        features: pooled features `[N, F]`, not standardised; may be mapped from a file, since only the chosen ones are
            held in memory.
        labels: `[N]` integers, every class 0..C-1 present.
        solver: `newton` or `glm_saga`.

    Raises:
        ValueError: if shapes or solver name are wrong.
        RunError: if fewer than `n_features` features vary, some are not finite, or a class has no sample.
        UsageError: if the solver is not installed.
    """
    datafit = linear_problem(features, labels)
    varying = datafit.scale.std > MIN_STD
    if n_features > varying.sum():
        raise RunError(
            f"cannot choose {n_features} features: only {varying.sum()} of {len(varying)} vary over "
            "the training images; ask for fewer or train the dense model for longer"
        )
    minimise = _solver(solver).minimise
    chosen: list[int] = []
    inside = datafit.subset(chosen)
    coefficients = inside.start()
    strengths = (FIRST_CHOICE_STRENGTH * _strengths(datafit, SELECTION_PENALTY)).tolist()
    step = 0
    with progress(range(n_features), desc="Choosing features") as bar:
        while len(chosen) < n_features:
            if chosen:
                coefficients = minimise(inside, SELECTION_PENALTY, strengths[step], coefficients)
            pull = _pull(datafit, coefficients, chosen)
            pull[~varying] = -1.0
            at_the_end = step == len(strengths) - 1
            if pull.max() <= strengths[step] * SELECTION_PENALTY.alpha and not at_the_end:
                step += 1
                continue
            chosen.append(int(pull.argmax()))
            step = 0
            inside = datafit.subset(chosen)
            weight, bias = coefficients[:, :-1], coefficients[:, -1:]
            coefficients = torch.cat([weight, torch.zeros_like(bias), bias], 1)
            bar.update()
    return torch.tensor(chosen, device=datafit.labels.device)


def _pull(datafit: CrossEntropy, coefficients: Tensor, chosen: list[int]) -> Tensor:
    """How much every feature would lower the loss: the norm of its gradient, `[F]`; -1 for the chosen ones.

    Args:
        datafit: of all features.
        coefficients: of the chosen ones, `[C, len(chosen) + 1]`.
    """
    everywhere = coefficients.new_zeros(len(coefficients), datafit.features.shape[1] + 1)
    everywhere[:, [*chosen, -1]] = coefficients
    pull = datafit.value_and_gradient(everywhere)[1][:, :-1].norm(dim=0)
    pull[chosen] = -1.0
    return pull


def regularisation_path(features, labels, solver: str = "newton", lambdas=None, alpha: float = PATH_ALPHA) -> Path:
    """Layers for 100 strengths, from the smallest one without any weights to a thousandth of it.

    Args:
        features: pooled features `[N, F]`, not standardised; the weights are for standardised features,
            `(features - mean) / std`, as the sparse head applies them.
        labels: `[N]` integers, every class 0..C-1 present.
        solver: `newton` or `glm_saga`.
        lambdas: other strengths, in decreasing order.
        alpha: share of the sparsifying term, above 0 up to 1.

    Raises:
        ValueError: if shapes or solver name are wrong.
        RunError: if features are not finite or a class has no sample.
        UsageError: if the solver is not installed.
    """
    datafit = linear_problem(features, labels)
    minimise, penalty = _solver(solver).minimise, ElasticNet(alpha)
    if lambdas is None:
        lambdas = _strengths(datafit, penalty)
    lambdas = torch.as_tensor(lambdas).to(datafit.scale.mean)
    coefficients = datafit.start()
    path = []
    for strength in progress(lambdas.tolist(), desc="Regularisation path"):
        coefficients = minimise(datafit, penalty, strength, coefficients)
        path.append(coefficients)
    members = torch.stack(path)
    weights, biases = members[:, :, :-1], members[:, :, -1]
    # Shifting all biases changes no prediction, but Q-SENN's quantisation depends on it. Gradient steps from zero
    # biases keep the mean at zero, so that is what the published solver finds.
    return Path(weights, biases - biases.mean(1, keepdim=True), lambdas)


def _strengths(datafit: CrossEntropy, penalty: ElasticNet) -> Tensor:
    _, gradient = datafit.value_and_gradient(datafit.start())
    largest = penalty.smallest_empty_strength(gradient)
    if largest <= NO_SIGNAL:
        raise RunError(
            "the features say nothing about the classes: they are the same for all training images, or their means "
            "for all classes; train the model for longer"
        )
    exponent = math.log10(SMALLEST_STRENGTH)
    return largest * torch.logspace(0, exponent, N_STRENGTHS, dtype=torch.float64)


def _solver(name: str):
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}: choose from {', '.join(SOLVERS)}")
    return SOLVERS[name]()
