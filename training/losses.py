"""The losses beside cross entropy.

Feature diversity loss: SLDD-Model (arXiv 2303.13166), section on feature diversity.
Feature grounding loss: CHiQPM (arXiv 2511.20779).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def feature_diversity_loss(
    feature_maps: Tensor, logits: Tensor, weight: Tensor, scale: float
) -> Tensor:
    """Negative diversity of where the features of the predicted class look (SLDD-Model, eqs. 1-3).

    Each map is a distribution over positions, weighted by how active the feature is relative to the most active one
    and by its weight for the predicted class. The loss is low if the maxima over features cover many positions.

    Args:
        feature_maps: `[B, F, H, W]`.
        logits: `[B, C]`; only their argmax is used.
        weight: final linear weights `[C, F]`; receives a gradient if it is trained.
        scale: factor of the loss (0.196 in all the papers).

    Returns:
        Scalar, averaged over the batch, already multiplied by `scale`.
    """
    class_weight = weight[logits.argmax(dim=1)].abs()  # [B, F]
    class_weight = class_weight / (class_weight.norm(dim=1, keepdim=True) + 1e-5)
    activation = feature_maps.mean(dim=(2, 3))  # [B, F]
    activation = activation / activation.amax(dim=1, keepdim=True).clamp(min=1e-6)
    strength = activation * class_weight
    maps = feature_maps.flatten(2)  # [B, F, H*W]
    size = maps.logsumexp(dim=2)
    with torch.no_grad():
        positions = (maps - size[:, :, None]).exp_()  # softmax over positions
        strongest = positions.mul_(strength[:, :, None]).argmax(dim=1)  # [B, H*W]
    # Gradients go through the strongest features alone: a fraction of the arrays that a softmax of all would need.
    covered = (maps.gather(1, strongest[:, None])[:, 0] - size.gather(1, strongest)).exp()
    return -scale * (covered * strength.gather(1, strongest)).sum(dim=1).mean()


def feature_grounding_loss(features: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """How much the features of other classes are active compared with those of the true class (CHiQPM).

    The published implementation counts the mean of the other features twice; so does this one.

    Args:
        features: normalised features after ReLU, `[B, n]`, in standard deviations.
        targets: true classes, `[B]`.
        weight: binary class-feature assignment, `[C, n]`.

    Returns:
        Scalar, averaged over the batch, without its factor lambda.
    """
    assigned = weight[targets]  # [B, n], 0 or 1
    n_assigned = assigned.sum(dim=1)
    n_other = features.shape[1] - n_assigned
    assigned_mean = (features * assigned).sum(dim=1) / n_assigned
    other_mean = 2 * (features * (1 - assigned)).sum(dim=1) / n_other.clamp(min=1)
    scale = features.abs().amax(dim=1).clamp(min=0.01)
    return ((other_mean - assigned_mean) / scale).mean()


def mixed_images_loss(
    features: Tensor, targets: Tensor, classifier: Callable[[Tensor], Tensor], n_images: int
) -> Tensor:
    """Cross entropy of the classes of several images seen at once.

    Where features are maxima of maps, the largest of their values in several images are those of one picture that
    shows all the images. Naming all its classes asks for features that stay apart when classes are combined freely: a
    feature that means one thing in one class and another thing in another does not tell which of them is there.

    Args:
        features: pooled features of single images, `[B, F]`.
        targets: their classes, `[B]`.
        classifier: from features to logits.
        n_images: how many images are seen at once, each with others of the batch drawn at random.

    Returns:
        Scalar, averaged over the batch.
    """
    groups = torch.stack([torch.randperm(len(targets)) for _ in range(n_images)])
    logits = classifier(features[groups].amax(dim=0))
    return -logits.log_softmax(dim=1).gather(1, targets[groups].T).mean()
