"""The search for parts: from groups of alternatives to one feature for every look of every part."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from configs.recipes import GroupsRecipe, PartsRecipe
from sparsification.constants import class_means
from sparsification.parts.alternatives import Group, class_profiles, find_groups, independent_groups
from sparsification.parts.looks import LookClustering, Part, class_design, distinct_choices, unexplained
from sparsification.parts.places import at_place, fit_place
from sparsification.parts.scenes import Scenes


@dataclass(frozen=True, eq=False)
class PartSearch:
    """The search for parts in scenes; `groups`: how alternatives are found and places fitted, `recipe`: the rest."""

    scenes: Scenes
    groups: GroupsRecipe
    recipe: PartsRecipe

    def find(self, n_parts: int) -> list[Part]:
        """The clearest parts, up to `n_parts`; if all are found, no two classes have the same looks, if looks suffice.

        Empty unless two parts can be found from the classes alone.
        """
        profiles = class_profiles(self.scenes.pooled, self.scenes.labels, self.groups.extremes)
        groups = independent_groups(find_groups(profiles, self.groups), profiles)
        if len(groups) < 2:
            return []
        hints = [group.looks(profiles) for group in groups]
        parts = self._parts_of_groups(self._clear(groups)[:n_parts], profiles)
        while len(parts) < n_parts:
            part = self._next_part(parts, hints)
            if part is None:
                return parts
            parts.append(part)
        return self._settled(parts, hints)

    def _clear(self, groups: list[Group]) -> list[Group]:
        """The groups to begin with, the best first: two, and further ones if they are clear."""
        best = sorted(groups, key=lambda group: group.cost)[: self.recipe.first]
        return best[:2] + [group for group in best[2:] if group.cost < self.recipe.clear]

    def _parts_of_groups(self, groups: list[Group], profiles: Tensor) -> list[Part]:
        """A part for every group; a look that it leaves over gets the feature that correlates most with its classes."""
        parts: list[Part] = []
        for group in groups:
            features = torch.tensor(group.features)
            if group.left is not None:
                classes = group.left[self.scenes.labels][:, None].double()
                fit = _correlation(self.scenes.pooled, classes)[:, 0]
                fit[torch.cat([*(part.features for part in parts), features])] = -torch.inf
                features = torch.cat([features, fit.argmax()[None]])
            parts.append(Part(group.looks(profiles), features))
        return parts

    def _next_part(self, parts: list[Part], hints: list[Tensor]) -> Part | None:
        """The part where classes differ most beyond the looks of the known parts; None if there is no other.

        Every feature is tried as a sign of where it might be. It gets as many looks as the clearest part.
        """
        scenes, recipe = self.scenes, self.recipe
        landmarks, known, n_looks = self._peaks(parts), class_design(parts), parts[0].n_looks
        most, chosen = 0.0, None
        for feature in range(scenes.pooled.shape[1]):
            shown = scenes.pooled[:, feature] > recipe.shown
            if shown.double().mean() < recipe.rare:
                continue
            values = self._seen_at(landmarks, scenes.peaks[:, feature], shown)
            seen = _standardised(class_means(values, scenes.labels))
            beyond = unexplained(seen, known, recipe.ridge).square().sum().item()
            if beyond < max(most, recipe.unexplained):
                continue
            clusters = self._clustering(seen, parts, n_looks).best(recipe.starts // 3, hints)
            explained = beyond - clusters.unexplained
            if explained > max(most, recipe.explained * beyond):
                most, chosen = explained, (clusters.looks, values)
        if chosen is None:
            return None
        looks, values = chosen
        return Part(looks, self._fitting_features([values], [one_hot(looks, n_looks).double()])[0])

    def _settled(self, parts: list[Part], hints: list[Tensor]) -> list[Part]:
        """The parts, their looks and features fitted to what is seen at all their places and in whole images."""
        labels = self.scenes.labels
        whole = _standardised(class_means(self.scenes.pooled.sqrt(), labels))
        for _ in range(self.recipe.passes):
            values = [self._seen_at_part(parts, index) for index in range(len(parts))]
            seen = [torch.cat([_standardised(class_means(v, labels)), whole], dim=1) for v in values]
            looks = self._distinct_looks(self._clustered_again(parts, seen, hints), seen)
            one_hots = [one_hot(own, part.n_looks).double() for own, part in zip(looks, parts, strict=True)]
            parts = [Part(*both) for both in zip(looks, self._fitting_features(values, one_hots), strict=True)]
        return parts

    def _clustered_again(self, parts: list[Part], seen: list[Tensor], hints: list[Tensor]) -> list[Part]:
        """The parts with looks by what is seen of each, `[C, F]`: one part after the other, until none changes."""
        parts = list(parts)
        for _ in range(self.recipe.rounds):
            before = [part.looks for part in parts]
            for index, part in enumerate(parts):
                clustering = self._clustering(seen[index], _others(parts, index), part.n_looks)
                clusters = clustering.best(self.recipe.starts, hints, now=part.looks)
                parts[index] = Part(clusters.looks, part.features)
            if all(torch.equal(a, b.looks) for a, b in zip(before, parts, strict=True)):
                break
        return parts

    def _distinct_looks(self, parts: list[Part], seen: list[Tensor]) -> list[Tensor]:
        """The looks `[C]` of every part, changed where two classes would have the same looks of all parts.

        Classes keep as many of their looks as possible: one more look kept outweighs all distances together.
        """
        fits = []
        for index, part in enumerate(parts):
            distances = self._clustering(seen[index], _others(parts, index), part.n_looks).distances(part.looks)
            fits.append(part.one_hot() * distances.max() - distances / len(parts))
        return list(distinct_choices(fits).T)

    def _clustering(self, seen: Tensor, others: list[Part], n_looks: int) -> LookClustering:
        return LookClustering(seen, others, n_looks, self.groups.commonest, self.recipe)

    def _peaks(self, parts: list[Part]) -> Tensor:
        """Peaks in every image of the features that stand for its class's looks of some parts, `[N, P, 2]`."""
        scenes = self.scenes
        images = torch.arange(len(scenes.labels))
        features = [part.features[part.looks[scenes.labels]] for part in parts]
        return torch.stack([scenes.peaks[images, own] for own in features], dim=1)

    def _seen_at(self, landmarks: Tensor, positions: Tensor, shown: Tensor) -> Tensor:
        """Values of the maps, `[N, F]`, at the place fitted to positions `[N, 2]` in the images that show it."""
        place, _ = fit_place(landmarks, positions, shown, self.groups)
        return self.scenes.at(at_place(landmarks, place))

    def _seen_at_part(self, parts: list[Part], index: int) -> Tensor:
        """Values of the maps where one of the parts is, `[N, F]`, with all others as landmarks."""
        own, scenes = parts[index], self.scenes
        present = scenes.pooled.gather(1, own.features[own.looks][scenes.labels][:, None])[:, 0]
        shown = present >= min(self.recipe.shown, present.median().item())
        return self._seen_at(self._peaks(_others(parts, index)), self._peaks([own])[:, 0], shown)

    def _fitting_features(self, values: list[Tensor], looks: list[Tensor]) -> list[Tensor]:
        """A feature for every look of every part, all different: those that correlate most, there and in whole images.

        Args:
            values: of the maps where each part is, `[N, F]`.
            looks: of each part, one-hot, `[C, L]`.

        Returns:
            Features of each part, `[L]`; the clearest looks choose first.
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


def _others(parts: list[Part], index: int) -> list[Part]:
    return parts[:index] + parts[index + 1 :]


def _standardised(means: Tensor) -> Tensor:
    """Class means `[C, F]` centred and scaled to a sum of squares of 1."""
    centred = means - means.mean(dim=0)
    return centred / centred.norm().clamp(min=1e-9)


def _correlation(features: Tensor, members: Tensor) -> Tensor:
    """Pearson correlation of features `[N, F]` and memberships `[N, L]`, `[F, L]`."""
    both = [x.double() - x.double().mean(dim=0) for x in (features, members)]
    one, other = (x / x.norm(dim=0).clamp(min=1e-9) for x in both)
    return one.T @ other
