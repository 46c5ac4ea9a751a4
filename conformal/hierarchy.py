"""The hierarchy of a prediction (CHiQPM, arXiv 2511.20779: local explanations and eqs. 10-13).

For one image every class orders its k features by activation. A class shares level j with the
predicted class while their first j features agree, so the ordered features of the prediction are a
path from the root of a tree to a leaf, and every other class leaves this path at one depth, through
one feature: its branch. All quantities here are constant on branches, which is what keeps
prediction sets coherent.

Pure functions on arrays; the level that is used and the threshold belong to `conformal.predictor`.
"""

from dataclasses import dataclass

import torch


def class_feature_indices(weight):
    """Features of every class, ascending: `[C, k]` integers.

    Args:
        weight: binary class-feature weights `[C, n_features]` with the same number k of ones in
            every row.

    Raises:
        ValueError: if the weights are not binary or the rows do not all hold the same number of
            ones (at least 1).
    """
    weight = torch.as_tensor(weight).detach()
    if weight.ndim != 2 or not ((weight == 0) | (weight == 1)).all():
        raise ValueError(
            "the hierarchy needs binary class-feature weights of shape [C, n_features]"
        )
    per_class = weight.count_nonzero(dim=1)
    if per_class.numel() == 0 or per_class.min() < 1 or per_class.min() != per_class.max():
        raise ValueError(
            "the hierarchy needs the same number of features in every class, "
            f"found {sorted(set(per_class.tolist()))}"
        )
    return weight.nonzero()[:, 1].reshape(len(weight), -1)


@dataclass(frozen=True)
class Hierarchy:
    """Where classes leave the path to the prediction.

    Attributes:
        activations: each class's own features, most active first, `[..., k]`.
        depth: number of leading features shared with the predicted class, `[...]`, 0..k.
        path_length: features of the predicted class with positive activation, broadcastable to
            `depth`.
    """

    activations: torch.Tensor
    depth: torch.Tensor
    path_length: torch.Tensor


def ordered_features(features, class_features):
    """Activations and indices of the features of classes, most active first, both `[N, M, k]`.

    Equal activations are ordered by feature index, lower first.

    Args:
        features: `[N, n_features]`.
        class_features: features of M classes, ascending, `[M, k]` or, with classes of its own per
            sample, `[N, M, k]`.
    """
    indices = class_features.expand(len(features), -1, -1)
    activations = features.gather(1, indices.flatten(1)).view(indices.shape)
    activations, order = activations.sort(dim=2, descending=True, stable=True)
    return activations, indices.gather(2, order)


def prediction_hierarchy(features, predicted, class_features, classes=None):
    """Hierarchy of every prediction over all classes, `[N, C]`, or over the given `classes`.

    Args:
        features: normalised pooled features after ReLU, `[N, n_features]`.
        predicted: predicted classes, `[N]`.
        class_features: features of every class, ascending, `[C, k]`.
        classes: classes to place in the hierarchy, `[N, M]`.
    """
    path_activations, path = ordered_features(features, class_features[predicted].unsqueeze(1))
    candidates = class_features if classes is None else class_features[classes]
    activations, ordered = ordered_features(features, candidates)
    depth = (ordered == path).cumprod(dim=2).sum(dim=2)  # (N, M, k) -> (N, M)
    return Hierarchy(activations, depth, (path_activations > 0).sum(dim=2))


def shared_prefix(hierarchy):
    """Whether the first j features of class and prediction agree: bool `[N, k, C]`, index j - 1."""
    levels = torch.arange(1, hierarchy.activations.shape[-1] + 1, device=hierarchy.depth.device)
    return hierarchy.depth.unsqueeze(1) >= levels[:, None]


def level_accuracies(true_depth, n_per_class):
    """Fraction of samples whose label is among the classes of the node at levels 1..k: `[k]`.

    Args:
        true_depth: depth of the true class of every sample, `[N]`.
        n_per_class: number of features per class, k.
    """
    levels = torch.arange(1, n_per_class + 1, device=true_depth.device)
    return (true_depth >= levels[:, None]).double().mean(dim=1)


def level_nonconformity(hierarchy, level):
    """Nonconformity of classes at one level (CHiQPM, eqs. 10-13): `[...]`, at most 0.

    Minus the activations of the features shared beyond `level`, and of the class's own feature
    where it leaves the path; 0 for classes that left the path before `level`. Lower is more
    conforming.
    """
    positions = torch.arange(hierarchy.activations.shape[-1], device=hierarchy.depth.device)
    counted = (positions >= level) & (positions <= hierarchy.depth.unsqueeze(-1))
    return -(hierarchy.activations * counted).sum(dim=-1)


def branch_nonconformity(hierarchy):
    """Place of every class's branch in one nested family of sets: `[...]`, lower conforms.

    Branches that leave the path deeper come first; at equal depth, those whose own feature is more
    active. The depth d and the activation v of the own feature are written as one number, k - d - v
    / (1 + v), so that the order is lexicographic. The leaf of the prediction has 0: the predicted
    class and classes that differ from it only in features that are not active in this image.
    """
    k = hierarchy.activations.shape[-1]
    own = hierarchy.activations.gather(-1, hierarchy.depth.clamp(max=k - 1).unsqueeze(-1)).squeeze(
        -1
    )
    own = own.masked_fill(hierarchy.depth == k, 0)
    in_leaf = (hierarchy.depth >= hierarchy.path_length) & (own == 0)
    return (k - hierarchy.depth - own / (1 + own)).masked_fill(in_leaf, 0)
