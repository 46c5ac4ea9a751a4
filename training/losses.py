"""The losses in addition to cross entropy.

Feature diversity loss: SLDD-Model (arXiv 2303.13166), section on feature diversity.
Feature grounding loss: CHiQPM (arXiv 2511.20779).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, cross_entropy

# Features closer than this to 0 or 1 are clipped, so their gradient is 0.
TOO_SURE = 1e-6


def feature_diversity_loss(feature_maps: Tensor, logits: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Negative diversity of where the features of the predicted class look (SLDD-Model, eqs. 1-3).

    Each map becomes a distribution over positions, weighted by the feature's activation relative to the most active one
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
    # Gradients flow only through the strongest features, which needs a fraction of the memory of a full softmax.
    covered = (maps.gather(1, strongest[:, None])[:, 0] - size.gather(1, strongest)).exp()
    return -scale * (covered * strength.gather(1, strongest)).sum(dim=1).mean()


def feature_grounding_loss(features: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Activation of the other features compared with that of the true class's features (CHiQPM).

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

    If features are maxima of maps, their largest values over several images are those of one picture that shows all
    these images. Naming all its classes requires features that are unambiguous when classes are combined freely: a
    feature with different meanings in two classes does not tell which of them is there.

    Args:
        features: pooled features of single images, `[B, F]`.
        targets: their classes, `[B]`.
        classifier: from features to logits.
        n_images: how many images are seen at once; each is combined with random others of the batch.

    Returns:
        Scalar, averaged over the batch.
    """
    groups = torch.stack([torch.randperm(len(targets)) for _ in range(n_images)])
    logits = classifier(features[groups].amax(dim=0))
    return -logits.log_softmax(dim=1).gather(1, targets[groups].T).mean()


def confusable_images_loss(
    features: Tensor, targets: Tensor, logits: Tensor, classifier: Callable[[Tensor], Tensor]
) -> Tensor:
    """`mixed_images_loss` of pairs that are hard to tell apart.

    Every image is combined with the image of the batch, of another class, whose class it is most easily confused with.
    Two similar classes then have to be recognised by what each of them has: what the other has is there, too.

    Args:
        features: pooled features of single images, `[B, F]`.
        targets: their classes, `[B]`.
        logits: of the single images, `[B, C]`.
        classifier: from features to logits.

    Returns:
        Scalar, averaged over the batch; 0 if all images are of one class.
    """
    same = targets[:, None] == targets
    if same.all():
        return features.new_zeros(())
    partner = logits.detach()[:, targets].masked_fill(same, -math.inf).argmax(dim=1)
    both = torch.stack([targets, targets[partner]], dim=1)
    mixed = classifier(torch.maximum(features, features[partner]))
    return -mixed.log_softmax(dim=1).gather(1, both).mean()


def hidden_rectangle_loss(
    feature_maps: Tensor, targets: Tensor, classifier: Callable[[Tensor], Tensor], label_smoothing: float
) -> Tensor:
    """Cross entropy of images with a random rectangle of their maps hidden, a different one in each.

    A class then has to be recognised by any of its parts, not only by the one that is easiest to see.

    Args:
        feature_maps: `[B, F, H, W]`, >= 0; features are their maxima.
        targets: `[B]`.
        classifier: from features to logits.

    Returns:
        Scalar, averaged over the batch.
    """
    hidden = [_random_interval(len(targets), side) for side in feature_maps.shape[2:]]
    rectangle = (hidden[0][:, None, :, None] & hidden[1][:, None, None, :]).to(feature_maps.device)
    seen = feature_maps.masked_fill(rectangle, 0).amax(dim=(2, 3))
    return cross_entropy(classifier(seen), targets, label_smoothing=label_smoothing)


def _random_interval(count: int, cells: int) -> Tensor:
    """`count` random intervals, each a third to two thirds of the cells along a side, `[count, cells]` bool."""
    length = torch.randint(cells // 3, 2 * cells // 3 + 1, (count, 1))
    start = (torch.rand(count, 1) * (cells - length + 1)).long()
    cell = torch.arange(cells)
    return (cell >= start) & (cell < start + length)


def presence_loss(pooled: Tensor, targets: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy of features that are to be present in every image of some classes, and in no other image.

    Presence and absence have equal weight, and m features count sqrt(m) times as much as one.

    Args:
        pooled: features in [0, 1], `[B, m]`.
        targets: classes of the images, `[B]`.
        classes: which classes have every feature, `[C, m]` bool: some of them, not all.

    Returns:
        Scalar, averaged over the batch; 0 if there are no features.
    """
    if not classes.shape[1]:
        return pooled.new_zeros(())
    share = classes.to(pooled.dtype).mean(dim=0)
    present = classes[targets]
    balance = torch.where(present, 0.5 / share, 0.5 / (1 - share))
    values = pooled.clamp(TOO_SURE, 1 - TOO_SURE)
    mean = binary_cross_entropy(values, present.to(pooled.dtype), weight=balance)
    return classes.shape[1] ** 0.5 * mean
