"""A few weights per class out of a regularisation path: Q-SENN's quantisation and SLDD-Model's cut.

Q-SENN (AAAI 2024, arXiv 2312.13839) and SLDD-Model (arXiv 2303.13166). Both count over the whole matrix: `per_class` is
the average number of non-zero weights of a class; single classes may have more or fewer.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# SLDD-Model cuts a path member that is at most this much denser than the result (paper: k / 0.5).
SPARSE_TO_DENSE = 0.5


class QuantisedLayer(NamedTuple):
    """Class weights `[C, F]` with values in {-a, 0, a}, and biases `[C]` on a grid."""

    weight: Tensor
    bias: Tensor


class SparsifiedLayer(NamedTuple):
    """The chosen path member: its index, its weights `[C, F]` after the cut, its biases `[C]`."""

    index: int  # type: ignore[assignment]  # a tuple has a method of this name
    weight: Tensor
    bias: Tensor


def quantise_qsenn(weight, bias, per_class: int) -> QuantisedLayer:
    """Weights in {-a, 0, a} with `per_class` non-zeros per class on average, and gridded biases.

    The weights of largest magnitude are kept and replaced by their mean magnitude `a`, with their signs. Classes with
    more positive than negative weights get lower biases: the biases decrease linearly in the difference of these
    counts, from the largest magnitude `m` in `bias` down to `-m`.

    This is the rule that the published code intends, without its two slips: a weight of exactly minus the largest
    magnitude stays negative, and equal differences give every class the bias `m`, not NaN. With fewer than
    `per_class * C` non-zeros all of them are kept.

    Args:
        weight: a layer `[C, F]`, or a path `[L, C, F]`, of which the last member is quantised.
        bias: its biases `[C]`, or `[L, C]`.
        per_class: average number of non-zero weights per class.

    Raises:
        ValueError: if the shapes do not belong together or `per_class` is below 1.
    """
    weight, bias = _floating(weight), _floating(bias)
    _check(weight, bias, per_class)
    if weight.ndim == 3:
        weight, bias = weight[-1], bias[-1]
    kept = _keep_largest(weight, per_class * len(weight))
    sign = kept.sign()
    magnitude = kept.abs().sum() / sign.abs().sum().clamp_min(1)
    surplus = sign.sum(1)  # [C], number of positive minus number of negative weights
    surplus = surplus - surplus.min()
    level = bias.abs().max()
    grid = level - surplus * 2 * level / surplus.max().clamp_min(1)
    return QuantisedLayer(sign * magnitude, grid.clamp(-level, level))


def sparsify_sldd(weights, biases, per_class: int) -> SparsifiedLayer:
    """The densest path member near the wanted sparsity, cut to its largest weights.

    That is the member with the most non-zeros among those with at most `per_class / 0.5` per class (the first one, if
    equal). The path's first member is never chosen while others exist; if all the others are too dense, the sparsest
    is taken. Its `per_class * C` weights of largest magnitude stay (the first in row-major order, if equal), and its
    biases are unchanged.

    Args:
        weights: regularisation path `[L, C, F]`, or one layer `[C, F]`.
        biases: `[L, C]`, or `[C]`.
        per_class: average number of non-zero weights per class.

    Raises:
        ValueError: if the shapes do not belong together or `per_class` is below 1.
    """
    weights, biases = _floating(weights), _floating(biases)
    _check(weights, biases, per_class)
    if weights.ndim == 2:
        weights, biases = weights[None], biases[None]
    density = (weights != 0).sum((1, 2)) / weights.shape[1]  # [L], non-zeros per class
    index = _member_to_cut(density.tolist(), per_class / SPARSE_TO_DENSE)
    weight = _keep_largest(weights[index], per_class * weights.shape[1])
    return SparsifiedLayer(index, weight, biases[index])


def _member_to_cut(density: list[float], limit: float) -> int:
    # A path begins with its member 0, usually without any weight.
    members = range(1, len(density)) or [0]
    sparse_enough = [i for i in members if density[i] <= limit]
    if sparse_enough:
        return max(sparse_enough, key=density.__getitem__)
    return min(members, key=density.__getitem__)


def _keep_largest(weight: Tensor, count: int) -> Tensor:
    """`weight` with all but the `count` entries of largest magnitude set to 0."""
    order = weight.abs().flatten().argsort(descending=True, stable=True)[:count]
    kept = torch.zeros_like(weight).flatten()
    kept[order] = weight.flatten()[order]
    return kept.view_as(weight)


def _floating(values) -> Tensor:
    values = torch.as_tensor(values).detach()
    return values if values.is_floating_point() else values.double()


def _check(weight: Tensor, bias: Tensor, per_class: int) -> None:
    if weight.ndim not in (2, 3) or weight.shape[:-1] != bias.shape:
        raise ValueError(
            f"weights {tuple(weight.shape)} and biases {tuple(bias.shape)} do not belong together: "
            "expected [C, F] and [C], or a path [L, C, F] and [L, C]"
        )
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, found {per_class}")
