"""Groups of alternatives among local features: what a class has instead of what another class has.

Where a class has one look of every part, the features that stand for the looks of one part exclude each other, and one
of them is in every class; features of different parts are combined freely. So the classes alone say which features
belong together, if there are enough of them for all combinations of two looks to occur: neither parts nor looks are
given.

A network learns no feature for a look that it can infer from the absence of the others. Such a look is what a group of
three or more features leaves over: the classes that have none of them. The dense training asks for features of such
looks (`training/left_over_looks.py`). The clearest groups tell the selection where to look for the other parts
(`sparsification/parts.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from configs.recipes import GroupsRecipe
from sparsification.constants import class_means


@dataclass(frozen=True, eq=False)
class Group:
    """Features of which every class has one, and the classes that are left over.

    Attributes:
        cost: how far the features are from one in every class.
        features: their indices.
        left: `[C]` bool, the classes without any of them; None if there are none.
    """

    cost: float
    features: tuple[int, ...]
    left: Tensor | None

    def looks(self, profiles: Tensor) -> Tensor:
        """Which of its features every class has, or the number of features for those left over, `[C]`."""
        looks = self._most_present(profiles)
        if self.left is not None:
            looks[self.left] = len(self.features)
        return looks

    def features_of_classes(self, profiles: Tensor) -> Tensor:
        """The one of its features that is most present in every class, `[C]`."""
        return torch.tensor(self.features)[self._most_present(profiles)]

    def _most_present(self, profiles: Tensor) -> Tensor:
        return profiles[:, self.features].argmax(dim=1)


def class_profiles(pooled: Tensor, labels: Tensor, extremes: int) -> Tensor:
    """How present every feature is in every class, from 0 (as in the classes with least) to 1, `[C, F]` float64."""
    means = class_means(pooled, labels)
    ranked = means.sort(dim=0).values
    low, high = ranked[:extremes].mean(dim=0), ranked[-extremes:].mean(dim=0)
    return ((means - low) / (high - low).clamp(min=0.05)).clamp(0, 1)


def independent_groups(groups: list[Group], profiles: Tensor) -> list[Group]:
    """Groups that are combined freely with one another: the best that leave nothing over, then the best others."""
    present = profiles > 0.5
    chosen: list[Group] = []
    for group in sorted(groups, key=lambda g: g.left is not None):
        if all(_combined_freely(group, other, present) for other in chosen):
            chosen.append(group)
    return chosen


def left_over_groups(
    groups: list[Group], profiles: Tensor, independent: list[Group], known: Tensor, recipe: GroupsRecipe
) -> Iterator[tuple[Group, list[Group]]]:
    """Groups that leave over classes for which there is no feature, the best first.

    Each comes with the independent groups that are combined freely with it; all those that leave nothing over have to
    be among them.

    Args:
        groups: `find_groups`.
        profiles: `[C, F]`.
        independent: `independent_groups`.
        known: sets of classes that are not asked for, `[C, k]` bool; those found differ clearly from them and from
            one another.
        recipe: how clearly.
    """
    present = profiles > 0.5
    for group in groups:
        free = [g for g in independent if _combined_freely(group, g, present)]
        if (
            group.left is not None
            and all(g in free for g in independent if g.left is None)
            and not stands_for(profiles, group.left[:, None], recipe.same).any()
            and ((known != group.left[:, None]).double().mean(dim=0) >= recipe.different).all()
        ):
            known = torch.cat([known, group.left[:, None]], dim=1)
            yield group, free


def stands_for(profiles: Tensor, classes: Tensor, same: float) -> Tensor:
    """Whether features are present in these classes and no others, `[C, n]` and `[C, n]` bool -> `[n]` bool.

    They may be in others, or not in these, in less than a share `same` of all classes.
    """
    return ((profiles > 0.5) != classes).double().mean(dim=0) < same


def find_groups(profiles: Tensor, recipe: GroupsRecipe) -> list[Group]:
    """All groups of alternatives among the features that stand for a set of classes, the best first."""
    if len(profiles) < recipe.enough:
        return []
    fewest, most = (int(share * len(profiles)) for share in (recipe.rarest, recipe.commonest))
    present = profiles > 0.5
    undecided = torch.minimum(profiles, 1 - profiles).mean(dim=0)
    counts = present.sum(dim=0)
    decided = (undecided < recipe.undecided) & (counts >= fewest) & (counts <= most)
    candidates: list[int] = []  # the clearest of all that stand for the same classes
    for feature in undecided.argsort().tolist():
        differs = (present[:, candidates] != present[:, [feature]]).sum(dim=0)
        if decided[feature] and (differs > 0).all():
            candidates.append(feature)
    own = profiles[:, candidates]
    rarer = torch.minimum(own.sum(dim=0)[:, None], own.sum(dim=0)).clamp(min=1e-6)
    exclusive = own.T @ own / rarer < recipe.together
    found: list[Group] = []

    def grow(members: list[int], others: Sequence[int]) -> None:
        if len(members) >= recipe.fewest:
            total = own[:, members].sum(dim=1)
            left = total < recipe.absent
            cost = (total - (~left).double()).abs().mean().item() + recipe.per_look * len(members)
            features = tuple(candidates[m] for m in members)
            if not left.any():
                found.append(Group(cost, features, None))
            elif fewest <= left.sum() <= most:
                found.append(Group(cost + recipe.left_over, features, left))
        if len(members) < recipe.most:
            for i, other in enumerate(others):
                grow([*members, other], [o for o in others[i + 1 :] if exclusive[other, o]])

    grow([], range(len(candidates)))
    return sorted(found, key=lambda group: group.cost)


def _looks(group: Group, present: Tensor) -> Tensor:
    """The classes with each look of a group, `[C, looks]`."""
    looks = present[:, group.features]
    return looks if group.left is None else torch.cat([looks, group.left[:, None]], dim=1)


def _combined_freely(one: Group, other: Group, present: Tensor) -> bool:
    """Whether two groups share no feature, and their looks are combined freely."""
    if set(one.features) & set(other.features):
        return False
    return freely_combined(_looks(one, present), _looks(other, present))


def freely_combined(one: Tensor, other: Tensor) -> bool:
    """Whether every look of one part occurs with at least half the looks of another, `[C, looks]` of each."""
    together = (one.double().T @ other.double() > 0).double()
    return bool(min(together.mean(dim=0).min(), together.mean(dim=1).min()) >= 0.5)
