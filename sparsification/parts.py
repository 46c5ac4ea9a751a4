"""Parts and their looks: which classes share a look, and the feature that stands for it.

Groups of alternatives (`sparsification/alternatives.py`) show the clearest parts, from the classes alone. Others may
have a look that no feature stands for, or features that mean one look in some classes and another one in others. The
clearest parts are landmarks: they say where anything else is, in every image. What the maps show at the place of a part
differs between classes by its look and by little else. So the next part is where the classes differ most beyond the
looks of the known parts, and its looks are clusters of the classes there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from configs.recipes import GroupsRecipe, PartsRecipe
from sparsification.alternatives import class_profiles, find_groups, freely_combined, independent_groups
from sparsification.constants import class_means
from sparsification.scenes import Scenes


@dataclass(frozen=True, eq=False)
class Part:
    """A part of which every class has one look.

    Attributes:
        looks: `[C]`, which one.
        features: of every look the one that fits best where the part is, `[L]`.
    """

    looks: Tensor
    features: Tensor

    def one_hot(self) -> Tensor:
        """`[C, L]` float64."""
        return one_hot(self.looks, len(self.features)).double()

    def peaks(self, scenes: Scenes) -> Tensor:
        """Where the features of the classes' looks are in every image, `[N, 2]`."""
        image = torch.arange(len(scenes.labels))
        return scenes.peaks[image, self.features[self.looks[scenes.labels]]]


@dataclass(frozen=True, eq=False)
class PartSearch:
    """The search for parts in scenes.

    Attributes:
        scenes: of some images of every class.
        groups: how groups of alternatives are found, and places fitted.
        recipe: how parts are found.
    """

    scenes: Scenes
    groups: GroupsRecipe
    recipe: PartsRecipe

    def find(self, n_parts: int) -> list[Part]:
        """The clearest parts, `n_parts` if there are so many; then no two classes have the same looks if looks suffice.

        There are none unless the classes alone show two of them.
        """
        profiles = class_profiles(self.scenes.pooled, self.scenes.labels, self.groups.extremes)
        groups = independent_groups(find_groups(profiles, self.groups), profiles)
        if len(groups) < 2:
            return []
        hints = [group.looks(profiles) for group in groups]
        first = min(self.recipe.first, n_parts)
        parts: list[Part] = []
        for group, looks in zip(groups[:first], hints[:first], strict=True):
            features = torch.tensor(group.features)
            if group.left is not None:
                taken = [*parts, Part(looks, features)]
                features = torch.cat([features, self._spare(group.left, taken)])
            parts.append(Part(looks, features))
        while len(parts) < n_parts:
            part = self._next_part(parts, hints)
            if part is None:
                return parts
            parts.append(part)
        return self._settled(parts, hints)

    def _values(self, parts: list[Part], index: int) -> Tensor:
        """What the maps show where one of the parts is, by the places of the others, `[N, F]`."""
        scenes, own, others = self.scenes, parts[index], _others(parts, index)
        present = scenes.pooled.gather(1, own.features[own.looks][scenes.labels][:, None])[:, 0]
        shown = present >= min(self.recipe.shown, present.median().item())
        landmarks = _peaks(scenes, others)
        place, _ = fit_place(landmarks, own.peaks(scenes), shown, self.groups)
        return scenes.at(at_place(landmarks, place))

    def _next_part(self, parts: list[Part], hints: list[Tensor]) -> Part | None:
        """The part where classes differ most beyond the looks of those that are known; None if there is no other.

        Every feature is tried as a sign of where it might be. It has as many looks as the clearest part.
        """
        scenes, recipe = self.scenes, self.recipe
        landmarks, known = _peaks(scenes, parts), _design(parts)
        n_looks = len(parts[0].features)
        most, chosen = 0.0, None
        for feature in range(scenes.pooled.shape[1]):
            shown = scenes.pooled[:, feature] > recipe.shown
            if shown.double().mean() < recipe.rare:
                continue
            place, _ = fit_place(landmarks, scenes.peaks[:, feature], shown, self.groups)
            values = scenes.at(at_place(landmarks, place))
            seen = _standard(class_means(values, scenes.labels))
            unexplained = self._rest(seen, known).square().sum().item()
            if unexplained < max(most, recipe.unexplained):
                continue
            looks, rest = self._clusters(seen, parts, n_looks, recipe.starts // 3, hints)
            if unexplained - rest > max(most, recipe.explained * unexplained):
                most, chosen = unexplained - rest, (looks, values)
        if chosen is None:
            return None
        looks, values = chosen
        return Part(looks, self._fitting([values], [one_hot(looks, n_looks).double()])[0])

    def _settled(self, parts: list[Part], hints: list[Tensor]) -> list[Part]:
        """The parts with looks and features that agree with what is seen at all their places and in whole images."""
        parts, scenes, recipe = list(parts), self.scenes, self.recipe
        pooled = _standard(class_means(scenes.pooled.sqrt(), scenes.labels))
        for _ in range(recipe.passes):
            values = [self._values(parts, index) for index in range(len(parts))]
            seen = [torch.cat([_standard(class_means(v, scenes.labels)), pooled], dim=1) for v in values]
            for _ in range(recipe.rounds):
                before = [part.looks for part in parts]
                for index, part in enumerate(parts):
                    others = _others(parts, index)
                    looks, _ = self._clusters(seen[index], others, len(part.features), recipe.starts, hints, part.looks)
                    parts[index] = Part(looks, part.features)
                if all(torch.equal(a, b.looks) for a, b in zip(before, parts, strict=True)):
                    break
            fits = []
            for index, part in enumerate(parts):
                known = _design(_others(parts, index))
                distances = self._distances(seen[index], part.looks, known, len(part.features))
                fits.append(part.one_hot() * distances.max() - distances / len(parts))
            settled = [Part(own, part.features) for own, part in zip(distinct_choices(fits).T, parts, strict=True)]
            features = self._fitting(values, [part.one_hot() for part in settled])
            parts = [Part(part.looks, own) for part, own in zip(settled, features, strict=True)]
        return parts

    def _coefficients(self, seen: Tensor, design: Tensor) -> Tensor:
        ridge = self.recipe.ridge * torch.eye(design.shape[1], dtype=torch.float64)
        return torch.linalg.solve(design.T @ design + ridge, design.T @ seen)

    def _rest(self, seen: Tensor, design: Tensor) -> Tensor:
        """What a design does not explain of what is seen, `[C, F]`."""
        return seen - design @ self._coefficients(seen, design)

    def _distances(self, seen: Tensor, looks: Tensor, others: Tensor, n_looks: int) -> Tensor:
        """How far every class is from each look, given the looks of other parts, squared, `[C, L]`."""
        own = one_hot(looks, n_looks).double()
        coefficients = self._coefficients(seen, torch.cat([own, others], dim=1))
        rest = seen - others @ coefficients[n_looks:]
        return torch.cdist(rest, coefficients[:n_looks]).square()

    def _clusters(
        self,
        seen: Tensor,
        parts: list[Part],
        n_looks: int,
        n_starts: int,
        hints: list[Tensor],
        now: Tensor | None = None,
    ) -> tuple[Tensor, float]:
        """Looks by k-means, beside the effects of the looks of other parts.

        Args:
            seen: of every class, `[C, F]`.
            parts: the others.
            n_looks: how many.
            n_starts: from the classes that differ most, each time with another first one.
            hints: looks of groups, `[C]` each: further starts.
            now: looks that stay unless others are clearly better.

        Returns:
            `[C]`, and what they and the others do not explain. Looks that are not possible only where none are.
        """
        others = _design(parts)
        starts = [] if now is None else [now]
        starts += [looks for looks in hints if looks.max() == n_looks - 1]
        for shown in (seen, self._rest(seen, others)):
            for first in range(0, len(seen), max(1, len(seen) // n_starts)):
                centres = [first]
                for _ in range(n_looks - 1):
                    centres.append(int(torch.cdist(shown, shown[centres]).amin(dim=1).argmax()))
                starts.append(torch.cdist(shown, shown[centres]).argmin(dim=1))
        best, least = starts[0], (True, torch.inf)
        if now is not None:
            kept = self._distances(seen, now, others, n_looks).gather(1, now[:, None]).sum().item()
            least = (not self._possible(now, n_looks, parts), kept * self.recipe.clearly)
        for looks in starts:
            for _ in range(30):
                distances = self._distances(seen, looks, others, n_looks)
                nearest, looks = looks, distances.argmin(dim=1)
                if torch.equal(nearest, looks):
                    break
            rest = distances.amin(dim=1).sum().item()
            cost = (not self._possible(looks, n_looks, parts), rest)
            if cost < least:
                best, least = looks, cost
        return best, least[1]

    def _possible(self, looks: Tensor, n_looks: int, others: list[Part]) -> bool:
        """Whether looks are neither too rare nor too common, and combined freely with those of the other parts."""
        own = one_hot(looks, n_looks)
        counts = own.sum(dim=0) / len(looks)
        usual = bool(((counts >= self.recipe.rare) & (counts <= self.groups.commonest)).all())
        return usual and all(freely_combined(own, part.one_hot()) for part in others)

    def _spare(self, classes: Tensor, parts: list[Part]) -> Tensor:
        """The feature that correlates most with being in these classes, none of those of `parts`, `[1]`."""
        fit = _correlation(self.scenes.pooled, classes[self.scenes.labels][:, None].double())[:, 0]
        fit[torch.cat([part.features for part in parts])] = -torch.inf
        return fit.argmax()[None]

    def _fitting(self, values: list[Tensor], looks: list[Tensor]) -> list[Tensor]:
        """For every look of every part another feature, the one that correlates most with it there and in whole images.

        Args:
            values: what the maps show where each part is, `[N, F]`.
            looks: of each part, one-hot, `[C, L]`.

        Returns:
            Of each part, `[L]`; the clearest looks have chosen first.
        """
        fits = []
        for shown, own in zip(values, looks, strict=True):
            members = own[self.scenes.labels]
            fits.append(_correlation(shown, members) + _correlation(self.scenes.pooled, members))
        fit = torch.cat(fits, dim=1)
        features = torch.empty(fit.shape[1], dtype=torch.long)
        for _ in range(len(features)):
            feature, look = divmod(int(fit.argmax()), len(features))
            features[look] = feature
            fit[feature], fit[:, look] = -torch.inf, -torch.inf
        return list(features.split([own.shape[1] for own in looks]))


def fit_place(
    landmarks: Tensor, own: Tensor, shown: Tensor, recipe: GroupsRecipe, least: float = 0
) -> tuple[Tensor, bool]:
    """How landmarks say where something is: least squares over the images in which it is near there.

    Args:
        landmarks: `[N, L, 2]`.
        own: where it is, `[N, 2]`.
        shown: in which images, `[N]` bool.
        recipe: what is near, and how often the place is fitted.
        least: share of the images in which it has to be near there.

    Returns:
        `[2 L + 1, 2]`, for `at_place`; and whether it is near there in more than this share.
    """
    near = shown
    for _ in range(recipe.fits):
        place = torch.linalg.lstsq(with_one(landmarks[near]), own[near]).solution
        near = shown & ((at_place(landmarks, place) - own).norm(dim=1) <= recipe.near)
        if near.sum() <= least * shown.sum():
            return place, False
    return place, True


def at_place(landmarks: Tensor, place: Tensor) -> Tensor:
    """Where it is: from landmarks `[..., L, 2]` and a place `[..., 2 L + 1, 2]` to `[..., 2]`."""
    return (with_one(landmarks)[..., None, :] @ place)[..., 0, :]


def with_one(landmarks: Tensor) -> Tensor:
    """What a place is a linear function of: `[..., L, 2]` -> `[..., 2 L + 1]`."""
    flat = landmarks.flatten(-2)
    return torch.cat([flat, torch.ones_like(flat[..., :1])], dim=-1)


def _others(parts: list[Part], index: int) -> list[Part]:
    return parts[:index] + parts[index + 1 :]


def _peaks(scenes: Scenes, parts: list[Part]) -> Tensor:
    return torch.stack([part.peaks(scenes) for part in parts], dim=1)


def _design(parts: list[Part]) -> Tensor:
    """`[C, looks + 1]`: the looks of the classes, and 1."""
    looks = [part.one_hot() for part in parts]
    return torch.cat([*looks, torch.ones(len(looks[0]), 1, dtype=torch.float64)], dim=1)


def _standard(means: Tensor) -> Tensor:
    """Class means `[C, F]` around 0, with 1 as the sum of their squares."""
    centred = means - means.mean(dim=0)
    return centred / centred.norm().clamp(min=1e-9)


def _correlation(features: Tensor, members: Tensor) -> Tensor:
    """Of `[N, F]` and `[N, L]`, `[F, L]`."""
    both = [x.double() - x.double().mean(dim=0) for x in (features, members)]
    one, other = (x / x.norm(dim=0).clamp(min=1e-9) for x in both)
    return one.T @ other


def distinct_choices(fits: list[Tensor]) -> Tensor:
    """One look of every part for every class, `[C, P]`: those that fit best, but never the choice of another class.

    Args:
        fits: of every part, `[C, looks]`. Classes that fit best choose first.
    """
    choices = torch.cartesian_prod(*(torch.arange(fit.shape[1]) for fit in fits))
    fit = torch.stack([fit[:, looks] for fit, looks in zip(fits, choices.T, strict=True)]).sum(0)
    chosen = torch.empty(len(fit), dtype=torch.long)
    for c in fit.amax(dim=1).argsort(descending=True).tolist():
        chosen[c] = fit[c].argmax()
        fit[:, chosen[c]] = -torch.inf
    return choices[chosen]
