"""Groups of alternatives among local features: what a class has instead of what another class has.

Where a class has one look of every part, the features that stand for the looks of one part exclude each other, and one
of them is in every class; features of different parts are combined freely. So the classes alone say which features
belong together, if there are enough of them for all combinations of two looks to occur: neither parts nor looks are
given.

A network learns no feature for a look that it can infer from the absence of the others. Such a look is what a group of
three or more features leaves over: the classes that have none of them. It is given the feature that fits these classes
best, and the finetuning makes it the feature of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from architectures.sparse_head import MIN_STD
from sparsification.constants import class_sums, feature_moments

ENOUGH = (
    40  # classes: among fewer, looks of different parts that never meet are alternatives by chance
)
EXTREMES = 3  # classes that say what of a feature is all and nothing
UNDECIDED = 0.12  # mean distance of class means from 0 or 1, from which a feature does not stand for a set of classes
# Share of the rarer feature's presence with another one, from which the two are no alternatives; where no groups are
# found with the first, the second is tried.
TOGETHER, TOGETHER_AT_MOST = 0.12, 0.2
ABSENT = 0.1  # presence of all features of a group together, below which a class is left over
FEWEST = 3  # features of a group: two exclude each other by chance
MOST = 5
LEFT_OVER = 0.06  # what a group costs whose last look no feature stands for
SAME = 0.1  # share of the classes in which what stands for a set may differ from it
DIFFERENT = 0.15  # share in which two sets have to differ to be asked for both
LAST_TRIED = 60  # groups, as the last one of an assignment
TRUSTED = 0.9  # share of the training images that an assignment has to classify rightly, before any finetuning
PER_LOOK = 0.01  # what a look costs: of two ways to split the classes the one in fewer parts


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


def class_profiles(pooled: Tensor, labels: Tensor) -> Tensor:
    """How present every feature is in every class, from 0 (as in the classes with least) to 1, `[C, F]` float64."""
    means = class_sums(pooled, labels) / labels.bincount()[:, None]
    ranked = means.sort(dim=0).values
    low, high = ranked[:EXTREMES].mean(dim=0), ranked[-EXTREMES:].mean(dim=0)
    return ((means - low) / (high - low).clamp(min=0.05)).clamp(0, 1)


@dataclass(frozen=True)
class Assignment:
    """What groups of alternatives say about features and classes.

    Attributes:
        features: their indices, `[n]`.
        weight: `[C, n]`, 0 or 1; no two rows are equal.
    """

    features: Tensor
    weight: Tensor

    def accuracy(self, pooled: Tensor, labels: Tensor) -> float:
        """Share of the images whose class has the largest sum of features, in standard deviations."""
        features = pooled[:, self.features].double()
        mean, std = feature_moments(features)
        features = (features - mean) / std.clamp(min=MIN_STD)
        predictions = (features @ self.weight.T).argmax(dim=1)
        return (predictions == labels).double().mean().item()


def assign_alternatives(
    pooled: Tensor, labels: Tensor, n_features: int, n_per_class: int
) -> Assignment | None:
    """Features and classes' sets from groups of alternatives.

    The first groups are the clearest ones; the last one is that with which most of the images are classified rightly.

    Args:
        pooled: pooled features in [0, 1], `[N, F]`.
        labels: `[N]`.
        n_features: how many features are to be used.
        n_per_class: how many groups there are to be, for a class has a feature of each.

    Returns:
        None if there are too few classes or groups, if they do not have that many features or choices, or if too few
        images are classified rightly.
    """
    profiles = class_profiles(pooled, labels)
    for together in (TOGETHER, TOGETHER_AT_MOST):
        groups = find_groups(profiles, together)
        assigned = _best_assignment(groups, profiles, pooled, labels, n_features, n_per_class)
        if assigned is not None:
            return assigned
    return None


def _best_assignment(
    groups: list[Group],
    profiles: Tensor,
    pooled: Tensor,
    labels: Tensor,
    n_features: int,
    n_per_class: int,
) -> Assignment | None:
    first = _independent(groups, profiles)[: n_per_class - 1]
    last = [g for g in groups if all(_combined_freely(g, other, profiles > 0.5) for other in first)]
    assignments = []
    for group in last[:LAST_TRIED]:
        n_looks = [_n_looks(g) for g in (*first, group)]
        if sum(n_looks) == n_features and prod(n_looks) >= len(profiles):
            assignments.append(_assignment([*first, group], profiles, pooled, labels))
    best = max(assignments, key=lambda a: a.accuracy(pooled, labels), default=None)
    return best if best and best.accuracy(pooled, labels) >= TRUSTED else None


def _assignment(
    groups: list[Group], profiles: Tensor, pooled: Tensor, labels: Tensor
) -> Assignment:
    taken = torch.zeros(profiles.shape[1], dtype=torch.bool)
    taken[[feature for group in groups for feature in group.features]] = True
    left = [group.left[labels] for group in groups if group.left is not None]
    fitting = iter(fitting_features(pooled, left, taken))
    features: list[int] = []
    for group in groups:
        features += [*group.features, *([] if group.left is None else [next(fitting)])]
    looks = distinct_choices([look_shares(group, profiles) for group in groups])
    weight = [one_hot(look, _n_looks(group)) for look, group in zip(looks.T, groups, strict=True)]
    return Assignment(torch.tensor(features), torch.cat(weight, dim=1).double())


def _n_looks(group: Group) -> int:
    return len(group.features) + (group.left is not None)


def look_shares(group: Group, profiles: Tensor) -> Tensor:
    """How far every class has each look of a group, `[C, looks]`; the last one is what is left over, if anything is."""
    present = profiles[:, group.features]
    shares = present / present.sum(dim=1, keepdim=True).clamp(min=2 * ABSENT)
    if group.left is None:
        return shares
    return torch.cat([shares, 1 - shares.sum(dim=1, keepdim=True)], dim=1)


def distinct_choices(shares: list[Tensor]) -> Tensor:
    """One look of every group for every class, `[C, groups]`: those it has most of, but never the choice of another.

    Args:
        shares: of every group, `[C, looks]`. Classes that are surest of their looks choose first.
    """
    choices = torch.cartesian_prod(*(torch.arange(share.shape[1]) for share in shares))
    fit = torch.stack(
        [share[:, looks] for share, looks in zip(shares, choices.T, strict=True)]
    ).sum(dim=0)
    chosen = torch.empty(len(fit), dtype=torch.long)
    for c in fit.amax(dim=1).argsort(descending=True).tolist():
        chosen[c] = fit[c].argmax()
        fit[:, chosen[c]] = -1
    return choices[chosen]


def independent_groups(groups: list[Group], profiles: Tensor) -> list[Group]:
    """Groups that are combined freely with one another: the best that leave nothing over, then the best others."""
    return _independent(sorted(groups, key=lambda g: g.left is not None), profiles)


def left_over_groups(
    groups: list[Group], profiles: Tensor, independent: list[Group], known: Tensor
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
    """
    present = profiles > 0.5
    for group in groups:
        free = [g for g in independent if _combined_freely(group, g, present)]
        if (
            group.left is not None
            and all(g in free for g in independent if g.left is None)
            and not stands_for(profiles, group.left[:, None]).any()
            and ((known != group.left[:, None]).double().mean(dim=0) >= DIFFERENT).all()
        ):
            known = torch.cat([known, group.left[:, None]], dim=1)
            yield group, free


def _independent(groups: list[Group], profiles: Tensor) -> list[Group]:
    """The first of the groups, and of the others those that are combined freely with all before them."""
    present = profiles > 0.5
    chosen: list[Group] = []
    for group in groups:
        if all(_combined_freely(group, other, present) for other in chosen):
            chosen.append(group)
    return chosen


def stands_for(profiles: Tensor, classes: Tensor) -> Tensor:
    """Whether features are present in nearly these classes and no others, `[C, n]` and `[C, n]` bool -> `[n]` bool."""
    return ((profiles > 0.5) != classes).double().mean(dim=0) < SAME


def find_groups(profiles: Tensor, together: float = TOGETHER) -> list[Group]:
    """All groups of alternatives among the features that stand for a set of classes, the best first."""
    if len(profiles) < ENOUGH:
        return []
    fewest, most = len(profiles) // 8, len(profiles) * 5 // 12  # classes with a look
    present = profiles > 0.5
    undecided = torch.minimum(profiles, 1 - profiles).mean(dim=0)
    counts = present.sum(dim=0)
    decided = (undecided < UNDECIDED) & (counts >= fewest) & (counts <= most)
    candidates: list[int] = []  # the clearest of all that stand for the same classes
    for feature in undecided.argsort().tolist():
        differs = (present[:, candidates] != present[:, [feature]]).sum(dim=0)
        if decided[feature] and (differs > 0).all():
            candidates.append(feature)
    own = profiles[:, candidates]
    rarer = torch.minimum(own.sum(dim=0)[:, None], own.sum(dim=0)).clamp(min=1e-6)
    exclusive = own.T @ own / rarer < together
    found: list[Group] = []

    def grow(members: list[int], others: Sequence[int]) -> None:
        if len(members) >= FEWEST:
            total = own[:, members].sum(dim=1)
            left = total < ABSENT
            cost = (total - (~left).double()).abs().mean().item() + PER_LOOK * len(members)
            features = tuple(candidates[m] for m in members)
            if not left.any():
                found.append(Group(cost, features, None))
            elif fewest <= left.sum() <= most:
                found.append(Group(cost + LEFT_OVER, features, left))
        if len(members) < MOST:
            for i, other in enumerate(others):
                grow([*members, other], [o for o in others[i + 1 :] if exclusive[other, o]])

    grow([], range(len(candidates)))
    return sorted(found, key=lambda group: group.cost)


def _looks(group: Group, present: Tensor) -> Tensor:
    """The classes with each look of a group, `[C, looks]`."""
    looks = present[:, group.features]
    return looks if group.left is None else torch.cat([looks, group.left[:, None]], dim=1)


def _combined_freely(one: Group, other: Group, present: Tensor) -> bool:
    """Whether two groups share no feature, and every look of one occurs with at least half the looks of the other."""
    if set(one.features) & set(other.features):
        return False
    together = (_looks(one, present).double().T @ _looks(other, present).double() > 0).double()
    return bool(min(together.mean(dim=0).min(), together.mean(dim=1).min()) >= 0.5)


def fitting_features(pooled: Tensor, sets: Iterable[Tensor], taken: Tensor) -> list[int]:
    """For every set of images another feature that is not taken: the one that correlates most with it.

    Args:
        pooled: `[N, F]`.
        sets: `[N]` bool each.
        taken: `[F]` bool.
    """
    centred = pooled.double() - pooled.double().mean(dim=0)
    deviation, taken = centred.norm(dim=0).clamp(min=1e-9), taken.clone()
    features: list[int] = []
    for members in sets:
        fit = centred.T @ (members.double() - members.double().mean()) / deviation
        features.append(int(fit.masked_fill(taken, -torch.inf).argmax()))
        taken[features[-1]] = True
    return features
