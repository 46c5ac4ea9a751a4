"""Explanations against the truth, for images whose parts are known (SyntheticBirds).

Not metrics of the papers: they can only be measured where the parts that make a class are known.
A feature lies on the visible part whose centre is nearest to the peak of its feature map.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.inference import FeatureTable, first_of_every_class

# Distance to a part that is not visible.
FAR = math.inf


def part_under_peak(peaks: Tensor, part_locations: Tensor, part_visibility: Tensor) -> Tensor:
    """Index of the visible part nearest to the peak of every feature's map, `[N, n]`.

    Args:
        peaks: `[N, n, 2]`, row and column as fractions of the image.
        part_locations: `[N, P, 2]`, x and y as fractions of the image.
        part_visibility: `[N, P]` bool.
    """
    locations = part_locations.to(peaks).flip(2)  # (x, y) -> (row, column)
    distance = torch.cdist(peaks, locations).masked_fill(~part_visibility.unsqueeze(1), FAR)  # (N, n, P)
    return distance.argmin(dim=2)


def causing_part(pooled: Tensor, swapped: Tensor, part_visibility: Tensor) -> Tensor:
    """Index of the visible part whose look every feature depends on most, `[N, n]`.

    That is the part whose replacement by another look lowers the feature most, on average over the other looks.

    Args:
        pooled: features of the images, `[N, n]`.
        swapped: features of the same images drawn with another look of one part, `[N, P, L, n]`.
        part_visibility: `[N, P]` bool.
    """
    drop = pooled.unsqueeze(1) - swapped.mean(dim=2)  # (N, P, n)
    return drop.masked_fill(~part_visibility.unsqueeze(2), -FAR).argmax(dim=1)


def separating_cases(
    active: Tensor, labels: Tensor, weight: Tensor, class_parts: Tensor, part_visibility: Tensor
) -> Tensor:
    """Number of cases for every image, feature and part, `[N, n, P]`.

    A case is an ordered pair (c, d) of classes that differ in exactly one part, a feature that c has and d does not,
    and an image of c in which that part is visible and the feature active.

    Args:
        active: which features are active, `[N, n]` bool.
        labels: `[N]`.
        weight: class-feature weights, `[C, n]`; a feature belongs to a class if its weight is not 0.
        class_parts: `[C, P]`, look of each part.
        part_visibility: `[N, P]` bool.
    """
    differs = class_parts[:, None] != class_parts[None]  # (C, C, P)
    only = (differs & (differs.sum(dim=2, keepdim=True) == 1)).double()
    has = (weight != 0).double()
    # How many classes d, different from c in the part alone, lack the feature of c, (C, n, P).
    separates = torch.einsum("cdp,cf,df->cfp", only, has, 1 - has)
    return separates[labels] * active.double().unsqueeze(2) * part_visibility.double().unsqueeze(1)


def differing_part_rate(cases: Tensor, parts: Tensor) -> tuple[float, float]:
    """How often the part named for the feature that tells two classes apart is the one they differ in, and chance.

    Args:
        cases: `separating_cases`, `[N, n, P]`.
        parts: the part named for every feature in every image, `[N, n]`: under its peak, or causing it.

    Returns:
        `(rate, chance)`: chance is the rate of all n features on the same images and parts. nan without cases.
    """
    named = F.one_hot(parts, cases.shape[2]).double()  # (N, n, P)
    by_chance = named.mean(dim=1, keepdim=True)  # (N, 1, P)
    return _mean(named, cases), _mean(by_chance, cases)


def _mean(values: Tensor, counts: Tensor) -> float:
    total = counts.sum().item()
    return (counts * values).sum().item() / total if total else math.nan


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
        any features. nan without pairs.
    """
    n_parts = class_parts.shape[1]
    lies_on = F.one_hot(parts, n_parts).double() * active.unsqueeze(2)  # (N, n, P)
    votes = lies_on.new_zeros(len(class_parts), *lies_on.shape[1:]).index_add_(0, labels, lies_on)
    assigned = (weight != 0) & (votes.sum(dim=2) > 0)  # (C, n)
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


def explanation_truth(table: FeatureTable, weight: Tensor, dataset, swapped: Tensor) -> dict:
    """All measures on a feature table of a dataset that knows its parts, under readable names.

    Args:
        table: of the whole dataset.
        weight: class-feature weights, `[C, n]`.
        dataset: the images; knows `class_parts`, `part_locations` and `part_visibility`.
        swapped: pooled features of its first images of every class with the look of one part swapped,
            `[C * m, P, L, n]`.
    """
    known = (dataset.class_parts, dataset.part_locations, dataset.part_visibility)
    class_parts, locations, visible = map(torch.from_numpy, known)
    labels, active = table.labels, table.features > 0
    parts = part_under_peak(table.peaks, locations, visible)
    cases = separating_cases(active, labels, weight, class_parts, visible)
    rate, rate_by_chance = differing_part_rate(cases, parts)
    first = first_of_every_class(labels, len(swapped) // len(weight))
    cause = causing_part(table.pooled[first], swapped, visible[first])
    causal, causal_by_chance = differing_part_rate(cases[first], cause)
    own = _mean((cause == parts[first]).double(), cases[first].sum(dim=2))
    same, same_by_chance = attribute_constancy(parts, active, labels, weight, class_parts)
    return {
        "Separating feature on the differing part": rate,
        "Separating feature on the differing part, chance": rate_by_chance,
        "Differing part causes the separating feature": causal,
        "Differing part causes the separating feature, chance": causal_by_chance,
        "Separating feature on the part that causes it": own,
        "Same best attribute across a feature's classes": same,
        "Same best attribute across a feature's classes, chance": same_by_chance,
    }
