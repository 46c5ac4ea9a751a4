"""Explanations against the truth, for images that know where their parts are (SyntheticBirds).

No metric of the papers: they can only be measured where the parts that make a class are known.
A feature lies on the visible part whose centre is nearest to the peak of its feature map.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.inference import FeatureTable

# Of a part that is not visible: no peak is nearest to it.
FAR = math.inf


def part_under_peak(peaks: Tensor, part_locations: Tensor, part_visibility: Tensor) -> Tensor:
    """Index of the visible part nearest to the peak of every feature's map, `[N, n]`.

    Args:
        peaks: `[N, n, 2]`, row and column as fractions of the image.
        part_locations: `[N, P, 2]`, x and y as fractions of the image.
        part_visibility: `[N, P]` bool.
    """
    locations = torch.as_tensor(part_locations).to(peaks).flip(2)  # (x, y) -> (row, column)
    hidden = ~torch.as_tensor(part_visibility)
    distance = torch.cdist(peaks, locations).masked_fill(hidden.unsqueeze(1), FAR)  # (N, n, P)
    return distance.argmin(dim=2)


def separating_feature_localisation(
    parts: Tensor,
    active: Tensor,
    labels: Tensor,
    weight: Tensor,
    class_parts: Tensor,
    part_visibility: Tensor,
) -> tuple[float, float]:
    """How often the feature that tells two classes apart lies on the part in which they differ, and chance.

    Counted over ordered pairs (c, d) of classes that differ in exactly one part, the features that c has and d has
    not, and the images of c in which that part is visible and the feature active.

    Args:
        parts: `part_under_peak`, `[N, n]`.
        active: which features are active, `[N, n]` bool.
        labels: `[N]`.
        weight: class-feature weights, `[C, n]`; a feature belongs to a class if its weight is not 0.
        class_parts: `[C, P]`, look of each part.
        part_visibility: `[N, P]` bool.

    Returns:
        `(rate, chance)`: chance is the rate of all n features on the same images and parts. nan where nothing counts.
    """
    class_parts = torch.as_tensor(class_parts)
    differs = class_parts[:, None] != class_parts[None]  # (C, C, P)
    only = (differs & (differs.sum(dim=2, keepdim=True) == 1)).double()
    has = (torch.as_tensor(weight) != 0).double()
    # How many classes d the feature tells from c through a difference in the part alone, (C, n, P).
    separates = torch.einsum("cdp,cf,df->cfp", only, has, 1 - has)
    lies_on = F.one_hot(parts, class_parts.shape[1]).double()  # (N, n, P)
    visible = torch.as_tensor(part_visibility).double()
    cases = separates[labels] * active.double().unsqueeze(2) * visible.unsqueeze(1)  # (N, n, P)
    total = cases.sum().item()
    if total == 0:
        return math.nan, math.nan
    by_chance = lies_on.mean(dim=1, keepdim=True)  # (N, 1, P)
    return (cases * lies_on).sum().item() / total, (cases * by_chance).sum().item() / total


def attribute_constancy(
    parts: Tensor, active: Tensor, labels: Tensor, weight: Tensor, class_parts: Tensor
) -> tuple[float, float]:
    """How often a feature has the same best attribute in two classes that it is assigned to, and chance.

    Its best attribute in a class is the look of the part on which it lies most often in the class's images, where it
    is active.

    Args:
        parts: `part_under_peak`, `[N, n]`.
        active: which features are active, `[N, n]` bool.
        labels: `[N]`.
        weight: class-feature weights, `[C, n]`.
        class_parts: `[C, P]`, look of each part.

    Returns:
        `(rate, chance)`: over pairs of classes of one feature; chance is the rate over all pairs of assignments, of
        whatever features. nan where there are no pairs.
    """
    class_parts = torch.as_tensor(class_parts)
    n_parts = class_parts.shape[1]
    lies_on = F.one_hot(parts, n_parts).double() * active.unsqueeze(2)  # (N, n, P)
    votes = lies_on.new_zeros(len(class_parts), *lies_on.shape[1:]).index_add_(0, labels, lies_on)
    assigned = (torch.as_tensor(weight) != 0) & (votes.sum(dim=2) > 0)  # (C, n)
    best_part = votes.argmax(dim=2)  # (C, n)
    attribute = class_parts.gather(1, best_part) * n_parts + best_part
    attributes = F.one_hot(attribute, int(attribute.max()) + 1) * assigned.unsqueeze(2)  # (C, n, A)
    per_feature = attributes.sum(dim=0)  # (n, A): classes with this best attribute
    return same_pair_rate(per_feature), same_pair_rate(per_feature.sum(dim=0, keepdim=True))


def same_pair_rate(counts: Tensor) -> float:
    """Share of pairs within rows that fall into the same column, from counts `[rows, columns]`; nan without pairs."""
    members = counts.sum(dim=1)
    pairs = (members * (members - 1)).sum().item()
    return (counts * (counts - 1)).sum().item() / pairs if pairs else math.nan


def explanation_truth(table: FeatureTable, weight: Tensor, dataset) -> dict:
    """Both measures on a feature table of a dataset that knows its parts, under readable names."""
    labels = table.labels
    parts = part_under_peak(table.peaks, dataset.part_locations, dataset.part_visibility)
    active = table.features > 0
    rate, rate_by_chance = separating_feature_localisation(
        parts, active, labels, weight, dataset.class_parts, dataset.part_visibility
    )
    same, same_by_chance = attribute_constancy(parts, active, labels, weight, dataset.class_parts)
    return {
        "Separating feature on the differing part": rate,
        "Separating feature on the differing part, chance": rate_by_chance,
        "Same best attribute across a feature's classes": same,
        "Same best attribute across a feature's classes, chance": same_by_chance,
    }
