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
import torch.nn.functional as F


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
    """Where classes leave the path to the prediction, for N samples and M classes.

    Attributes:
        path: activations of the predicted class's features, most active first, `[N, k]`.
        depth: number of leading features shared with the predicted class, `[N, M]`, 0..k.
        own: activation of the feature through which a class leaves the path, `[N, M]`; 0 at depth k.
    """

    path: torch.Tensor
    depth: torch.Tensor
    own: torch.Tensor


def ordered_features(features, class_features):
    """Activations and indices of the features of classes, most active first, both `[N, M, k]`.

    Equal activations are ordered by feature index, lower first.

    Args:
        features: `[N, n_features]`.
        class_features: features of M classes, ascending, `[M, k]` or, with classes of its own per sample,
            `[N, M, k]`.
    """
    indices = class_features.expand(len(features), -1, -1)
    activations = features.gather(1, indices.flatten(1)).view(indices.shape)
    activations, order = activations.sort(dim=2, descending=True, stable=True)
    return activations, indices.gather(2, order)


def prediction_hierarchy(features, predicted, class_features, classes=None):
    """Hierarchy of every prediction over all classes, or over the given `classes`.

    Args:
        features: normalised pooled features after ReLU, `[N, n_features]`.
        predicted: predicted classes, `[N]`.
        class_features: features of every class, ascending, `[C, k]`.
        classes: classes to place in the hierarchy, `[N, M]`.
    """
    path, path_features = ordered_features(features, class_features[predicted].unsqueeze(1))
    candidates = class_features if classes is None else class_features[classes]
    activations, candidate_features = ordered_features(features, candidates)
    depth = (candidate_features == path_features).cumprod(dim=2).sum(dim=2)  # (N, M, k) -> (N, M)
    own = F.pad(activations, (0, 1)).gather(2, depth.unsqueeze(2))  # (N, M, 1)
    return Hierarchy(path.squeeze(1), depth, own.squeeze(2))


def shared_prefix(hierarchy):
    """Whether the first j features of class and prediction agree: bool `[N, k, M]`, index j - 1."""
    levels = torch.arange(1, hierarchy.path.shape[1] + 1, device=hierarchy.depth.device)
    return hierarchy.depth.unsqueeze(1) >= levels[:, None]


def level_accuracies(truth):
    """Fraction of samples whose true class shares the first 1..k features of the prediction, `[k]`.

    Args:
        truth: hierarchy of the true classes alone (M = 1).
    """
    return shared_prefix(truth).squeeze(2).double().mean(dim=0)


def level_nonconformity(hierarchy, level):
    """Nonconformity of classes at one level of the hierarchy (CHiQPM, eqs. 10-13): `[N, M]`, at most 0.

    Minus the activations of the features shared beyond `level`, and of the class's own feature where it leaves the
    path; 0 for classes that left the path before `level`. Lower is more conforming.
    """
    # Sums along the path are looked up by depth, so classes of one branch have equal scores to the last bit.
    shared = F.pad(hierarchy.path[:, level:].cumsum(dim=1), (level + 1, 0))  # (N, k + 1)
    evidence = shared.gather(1, hierarchy.depth) + hierarchy.own
    return -evidence.masked_fill(hierarchy.depth < level, 0)


def relative_nonconformity(hierarchy):
    """Evidence for the prediction that a class lacks: `[N, M]`, at least 0, lower is more conforming.

    The nonconformity of the class minus that of the predicted class. It is the same at every level that the class
    reaches, because what both share cancels: the activations of the prediction's features beyond the split, minus
    the activation of the class's own feature there. It is 0 for the predicted class and for classes that differ from
    it only in features that are silent in this image.
    """
    beyond = F.pad(hierarchy.path.flip(1).cumsum(dim=1).flip(1), (0, 1))  # (N, k + 1)
    return (beyond.gather(1, hierarchy.depth) - hierarchy.own).clamp(min=0)
