"""Groups of alternatives: features of which every class has exactly one, such as those for the looks of one part.

A class has one look of every part. So the features that stand for the looks of one part exclude each other, and every
class has one of them, while those of different parts are combined freely. The classes alone tell which features belong
together, if there are enough classes for all combinations of two looks to occur.

A network learns no feature for a look that it can infer from the absence of the others. A group of three or more
features leaves such a look over: the classes that have none of them. Dense training asks for features of such looks
(`training/left_over_looks.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import networkx as nx
import torch
from torch import Tensor

from configs.recipes import GroupsRecipe
from sparsification.constants import class_means

PRESENT = 0.5  # profile above which a class has a feature


@dataclass(frozen=True, eq=False)
class Group:
    """Features of which every class has one, and the classes that are left over."""

    cost: float  # how far the number of features per class is from one
    features: tuple[int, ...]  # their indices
    left: Tensor | None  # [C] bool, the classes without any of them; None if there are none

    def looks(self, profiles: Tensor) -> Tensor:
        """Which of its features every class has, or the number of features for those left over, `[C]`."""
        looks = self._most_present(profiles)
        if self.left is not None:
            looks[self.left] = len(self.features)
        return looks

    def features_of_classes(self, profiles: Tensor) -> Tensor:
        """The one of its features that is most present in every class, `[C]`."""
        return torch.tensor(self.features)[self._most_present(profiles)]

    def classes_of_looks(self, profiles: Tensor) -> Tensor:
        """Which classes have each of its looks, `[C, looks]` bool."""
        looks = profiles[:, self.features] > PRESENT
        return looks if self.left is None else torch.cat([looks, self.left[:, None]], dim=1)

    def is_combined_freely(self, other: "Group", profiles: Tensor) -> bool:
        """Whether it shares no feature with another group, and their looks are combined freely."""
        if set(self.features) & set(other.features):
            return False
        return freely_combined(self.classes_of_looks(profiles), other.classes_of_looks(profiles))

    def _most_present(self, profiles: Tensor) -> Tensor:
        return profiles[:, self.features].argmax(dim=1)


def freely_combined(one: Tensor, other: Tensor) -> bool:
    """Whether every look of one part occurs with at least half the looks of another, `[C, looks]` of each."""
    together = (one.double().T @ other.double() > 0).double()
    return bool(min(together.mean(dim=0).min(), together.mean(dim=1).min()) >= 0.5)


def class_profiles(pooled: Tensor, labels: Tensor, extremes: int) -> Tensor:
    """How present every feature is in every class, from 0 (as in the classes with least) to 1, `[C, F]` float64."""
    means = class_means(pooled, labels)
    ranked = means.sort(dim=0).values
    low, high = ranked[:extremes].mean(dim=0), ranked[-extremes:].mean(dim=0)
    return ((means - low) / (high - low).clamp(min=0.05)).clamp(0, 1)


def find_groups(profiles: Tensor, recipe: GroupsRecipe) -> list[Group]:
    """All groups of alternatives among the features that stand for a set of classes, the best first."""
    if len(profiles) < recipe.enough:
        return []
    candidates = _features_of_sets(profiles, recipe)
    own = profiles[:, candidates]
    rarer = torch.minimum(own.sum(dim=0)[:, None], own.sum(dim=0)).clamp(min=1e-6)
    exclusive = nx.from_numpy_array((own.T @ own / rarer < recipe.together).numpy())
    found = []
    for members in takewhile(lambda members: len(members) <= recipe.most, nx.enumerate_all_cliques(exclusive)):
        if len(members) >= recipe.fewest:
            features = tuple(candidates[member] for member in members)
            found.append(_group(features, own[:, members], recipe))
    return sorted((group for group in found if group is not None), key=lambda group: group.cost)


def _usual_counts(n_classes: int, recipe: GroupsRecipe) -> tuple[int, int]:
    """Smallest and largest number of classes that have a look."""
    return int(recipe.rarest * n_classes), int(recipe.commonest * n_classes)


def _features_of_sets(profiles: Tensor, recipe: GroupsRecipe) -> list[int]:
    """Features that some classes clearly have and others do not; of those with the same classes, the clearest."""
    fewest, most = _usual_counts(len(profiles), recipe)
    present = profiles > PRESENT
    undecided = torch.minimum(profiles, 1 - profiles).mean(dim=0)
    counts = present.sum(dim=0)
    decided = (undecided < recipe.undecided) & (counts >= fewest) & (counts <= most)
    found: list[int] = []
    for feature in undecided.argsort().tolist():
        differs = (present[:, found] != present[:, [feature]]).sum(dim=0)
        if decided[feature] and (differs > 0).all():
            found.append(feature)
    return found


def _group(features: tuple[int, ...], profiles: Tensor, recipe: GroupsRecipe) -> Group | None:
    """The group of features that exclude each other, with profiles `[C, m]`; None if too few or many are left over."""
    fewest, most = _usual_counts(len(profiles), recipe)
    total = profiles.sum(dim=1)
    left = total < recipe.absent
    cost = (total - (~left).double()).abs().mean().item() + recipe.per_look * len(features)
    if not left.any():
        return Group(cost, features, None)
    return Group(cost + recipe.left_over, features, left) if fewest <= left.sum() <= most else None


def independent_groups(groups: list[Group], profiles: Tensor) -> list[Group]:
    """Groups that are combined freely with one another: the best that leave nothing over, then the best others."""
    chosen: list[Group] = []
    for group in sorted(groups, key=lambda g: g.left is not None):
        if all(group.is_combined_freely(other, profiles) for other in chosen):
            chosen.append(group)
    return chosen


def left_over_groups(
    groups: list[Group], profiles: Tensor, independent: list[Group], known: Tensor, recipe: GroupsRecipe
) -> Iterator[tuple[Group, list[Group]]]:
    """Groups that leave over classes for which there is no feature, the best first.

    Each comes with the independent groups that are combined freely with it, which must include all those that leave
    nothing over.

    Args:
        groups: `find_groups`.
        profiles: `[C, F]`.
        independent: `independent_groups`.
        known: sets of classes that are not asked for, `[C, k]` bool; those found differ clearly from them and from
            one another.
    """
    for group in groups:
        if group.left is None:
            continue
        left = group.left[:, None]
        free = [g for g in independent if group.is_combined_freely(g, profiles)]
        beside_complete_ones = all(g in free for g in independent if g.left is None)
        is_new = bool(((known != left).double().mean(dim=0) >= recipe.different).all())
        if beside_complete_ones and is_new and not stands_for(profiles, left, recipe.same).any():
            known = torch.cat([known, left], dim=1)
            yield group, free


def stands_for(profiles: Tensor, classes: Tensor, same: float) -> Tensor:
    """Whether features are present in exactly these classes, `[C, n]` and `[C, n]` bool -> `[n]` bool.

    Less than a share `same` of all classes may be an exception.
    """
    return ((profiles > PRESENT) != classes).double().mean(dim=0) < same
