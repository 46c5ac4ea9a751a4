"""The hierarchy of a prediction (CHiQPM, arXiv 2511.20779: local explanations and eqs. 10-13).

For one image every class orders its k features by activation. A class shares level j with the predicted class if their
first j features agree. So the ordered features of the prediction are a path from the root of a tree to a leaf, and
every other class leaves this path at one depth, through one feature. Classes that share the feature after that as well
form a branch. All quantities here are constant on branches, which keeps prediction sets coherent.

Pure functions on arrays; the choice of the level and the threshold are in `conformal.scores.hierarchical`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.activations import strongest_first


def class_feature_indices(weight: Tensor) -> Tensor:
    """Features of every class, ascending: `[C, k]` integers.

    Args:
        weight: binary class-feature weights `[C, n_features]` with the same number k of ones in every row.

    Raises:
        ValueError: if the weights are not binary or the rows do not all hold the same number of ones (at least 1).
    """
    weight = torch.as_tensor(weight).detach()
    if weight.ndim != 2 or not ((weight == 0) | (weight == 1)).all():
        raise ValueError("the hierarchy needs binary class-feature weights of shape [C, n_features]")
    per_class = weight.count_nonzero(dim=1)
    if per_class.numel() == 0 or per_class.min() < 1 or per_class.min() != per_class.max():
        raise ValueError(
            f"the hierarchy needs the same number of features in every class, found {sorted(set(per_class.tolist()))}"
        )
    return weight.nonzero()[:, 1].reshape(len(weight), -1)


@dataclass(frozen=True)
class Hierarchy:
    """Where classes leave the path to the prediction, for N samples and M classes."""

    path: Tensor  # activations of the predicted class's features, most active first, [N, k]
    depth: Tensor  # number of leading features shared with the predicted class, [N, M], 0..k
    own: Tensor  # activation of the feature through which a class leaves the path, [N, M]; 0 at depth k
    # Key of the branch that a class is in, [N, M]: equal for classes that leave the path at the same depth, through
    # the same feature, and have the same feature next. Silent features (activation 0) do not separate classes.
    branch: Tensor


def prediction_hierarchy(
    features: Tensor, predicted: Tensor, class_features: Tensor, classes: Tensor | None = None
) -> Hierarchy:
    """Hierarchy of every prediction over all classes, or over the given `classes`.

    The features of an image are sorted once, by activation; ties go to the lower index. Every class then drops its
    leading feature as long as that is the next feature of the path.

    Args:
        features: normalised pooled features after ReLU, `[N, n_features]`.
        predicted: predicted classes, `[N]`.
        class_features: features of every class, ascending, `[C, k]`.
        classes: classes to place in the hierarchy, `[N, M]`.
    """
    N, n_features = features.shape
    order = strongest_first(features)
    activations = features.gather(1, order)
    rank = order.argsort(dim=1).int()  # (N, n_features)
    path_rank = rank.gather(1, class_features[predicted]).sort(dim=1).values  # (N, k)
    candidates = class_features.expand(N, -1, -1) if classes is None else class_features[classes]
    candidates = candidates.transpose(1, 2)  # (N, k, M): classes innermost, the long dimension
    ranks = rank.gather(1, candidates.flatten(1)).view(candidates.shape)
    on_path = torch.ones_like(ranks[:, 0], dtype=torch.bool)
    depth = torch.zeros_like(ranks[:, 0], dtype=torch.long)
    for next_rank in path_rank.T.unsqueeze(2):  # (N, 1)
        on_path &= ranks.amin(dim=1) == next_rank
        depth += on_path
        dropped = on_path.unsqueeze(1) & (ranks == next_rank.unsqueeze(1))
        ranks.masked_fill_(dropped, n_features)
    # A class with no feature left has rank n_features, whose activation is the 0 appended below.
    own_rank = ranks.amin(dim=1).long()
    following_rank = ranks.masked_fill(ranks == own_rank.unsqueeze(1), n_features).amin(dim=1).long()
    activations = F.pad(activations, (0, 1))
    own, following = (activations.gather(1, r) for r in (own_rank, following_rank))
    path = activations.gather(1, path_rank.long())
    branch = torch.minimum(depth, (path > 0).sum(dim=1, keepdim=True))
    for beyond, activation in ((own_rank, own), (following_rank, following)):
        branch = branch * (n_features + 1) + beyond.where(activation > 0, n_features)
    return Hierarchy(path, depth, own, branch)


def shared_prefix(hierarchy: Hierarchy) -> Tensor:
    """Whether the first j features of class and prediction agree: bool `[N, k, M]`, index j - 1."""
    levels = torch.arange(1, hierarchy.path.shape[1] + 1, device=hierarchy.depth.device)
    return hierarchy.depth.unsqueeze(1) >= levels[:, None]


def level_accuracies(truth: Hierarchy) -> Tensor:
    """Share of samples whose class has the first 1..k features of the prediction, `[k]`; `truth` has M = 1."""
    return shared_prefix(truth).squeeze(2).double().mean(dim=0)


def level_nonconformity(hierarchy: Hierarchy, level: int) -> Tensor:
    """Nonconformity of classes at one level of the hierarchy (CHiQPM, eqs. 10-13): `[N, M]`, at most 0.

    Minus the activations of the features shared beyond `level`, and of the class's own feature where it leaves the
    path; 0 for classes that left the path before `level`. Lower is more conforming.
    """
    # Sums along the path are looked up by depth, so classes of one branch have equal scores to the last bit.
    shared = F.pad(hierarchy.path[:, level:].cumsum(dim=1), (level + 1, 0))  # (N, k + 1)
    evidence = shared.gather(1, hierarchy.depth) + hierarchy.own
    return -evidence.masked_fill(hierarchy.depth < level, 0)


def branch_nonconformity(hierarchy: Hierarchy, logits: Tensor) -> Tensor:
    """One minus the mean probability of the classes of a branch, `[N, C]`; 0 for the prediction's branch.

    Args:
        hierarchy: of all C classes.
        logits: `[N, C]`; their softmax gives the probabilities, their largest the prediction.
    """
    keys, order = hierarchy.branch.sort(dim=1)
    first = F.pad(keys.diff(dim=1) != 0, (1, 0))  # of every branch but the first
    branch = torch.empty_like(order).scatter_(1, order, first.cumsum(dim=1))  # numbered from 0
    total, count = logits.new_zeros(2, *logits.shape)
    total.scatter_add_(1, branch, logits.softmax(dim=1))
    count.scatter_add_(1, branch, torch.ones_like(logits))
    # Computed once per branch and looked up, so classes of one branch have equal scores to the last bit.
    scores = 1 - total / count.clamp(min=1)
    scores.scatter_(1, branch.gather(1, logits.argmax(dim=1, keepdim=True)), 0)
    return scores.gather(1, branch)
