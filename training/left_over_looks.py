"""Features for looks that can be inferred from the absence of others.

A network learns no feature for the last look of a part: "no hook, no spear, no spoon" is as good as a cone. Groups of
alternatives reveal such a look as the set of classes that they leave over (`sparsification/parts/alternatives.py`).
Several times during dense training such sets become targets of features that vary little: each is to be present in
every image of its classes, and in no other image.

Presence alone could be learnt from anything that these classes happen to share. So the feature has to be present where
its part is: the maps of the part's other looks tell where that is, relative to three other parts.
"""

import torch
from torch import Tensor

from architectures.activations import distances_of_cells, relative_peaks
from configs.recipes import GroupsRecipe
from sparsification.parts.alternatives import (
    Group,
    class_profiles,
    find_groups,
    independent_groups,
    left_over_groups,
    stands_for,
)
from sparsification.parts.places import at_place, fit_place
from training.losses import presence_loss

LANDMARKS = 3  # parts, not collinear: they determine how the bird is rotated, mirrored and scaled


class LeftOverLooks:
    """The targets: which feature is to be in which classes, and where.

    Attributes:
        state: `features` `[m]`; `classes` `[m, C]` bool; `landmarks` `[m, C, L]`, the features whose peaks are the
            landmarks in every class; `places` `[m, 2 L + 1, 2]`, from landmarks to the position of the part; changed
            in place, since checkpoints hold it.
    """

    def __init__(self, n_classes: int, recipe: GroupsRecipe):
        self.recipe = recipe
        self.state = {
            "features": torch.zeros(0, dtype=torch.long),
            "classes": torch.zeros(0, n_classes, dtype=torch.bool),
            "landmarks": torch.zeros(0, n_classes, LANDMARKS, dtype=torch.long),
            "places": torch.zeros(0, 2 * LANDMARKS + 1, 2),
        }

    def renew(self, pooled: Tensor, labels: Tensor, peaks: Tensor) -> None:
        """Replace the targets by the sets that are left over now.

        Targets are kept that have been learnt and belong to a group that leaves nothing over.

        Args:
            pooled: features in [0, 1] of training images, `[N, F]`.
            labels: their classes, `[N]`.
            peaks: of their maps, as fractions of the image, `[N, F, 2]`.
        """
        recipe = self.recipe
        profiles = class_profiles(pooled, labels, recipe.extremes)
        groups = find_groups(profiles, recipe)
        independent = independent_groups(groups, profiles)
        learnt = self._learnt(profiles, independent)
        targets = {name: [*rows[learnt]] for name, rows in self.state.items()}
        known = self.state["classes"][learnt].T
        for group, others in left_over_groups(groups, profiles, independent, known, recipe):
            if len(targets["classes"]) >= recipe.targets:
                break
            if len(others) < LANDMARKS:
                continue
            marks = [other.features_of_classes(profiles) for other in others[:LANDMARKS]]
            landmarks = torch.stack(marks, dim=1)  # (C, L)
            place = self._place(group, profiles, landmarks, peaks, labels)
            if place is not None:
                for name, row in (("classes", group.left), ("landmarks", landmarks), ("places", place)):
                    targets[name].append(row)
        quiet = pooled.std(dim=0).argsort()
        spare = quiet[~torch.isin(quiet, self.state["features"][learnt])]
        n_new = len(targets["classes"]) - len(targets["features"])
        targets["features"] += spare[:n_new]
        for name, rows in targets.items():
            self.state[name] = torch.stack(rows) if rows else self.state[name][:0]

    def loss(self, feature_maps: Tensor, targets: Tensor) -> Tensor:
        """`presence_loss` of the target features of a batch, a scalar.

        In images of its classes, a feature counts only near the place of its part.

        Args:
            feature_maps: in [0, 1], `[B, F, H, W]`.
            targets: `[B]`.
        """
        features, classes, landmarks, places = (
            self.state[name].to(feature_maps.device) for name in ("features", "classes", "landmarks", "places")
        )
        image = torch.arange(len(targets), device=feature_maps.device)[:, None, None]
        marked = feature_maps.detach()[image, landmarks[:, targets].transpose(0, 1)]
        expected = at_place(relative_peaks(marked), places)  # (B, m, 2)
        maps = feature_maps[:, features]
        rows, columns = distances_of_cells(expected, maps)
        distance = torch.hypot(rows[..., :, None], columns[..., None, :])  # (B, m, H, W)
        elsewhere = (distance > self.recipe.near) & classes.T[targets][:, :, None, None]
        return presence_loss(maps.masked_fill(elsewhere, 0).amax(dim=(2, 3)), targets, classes.T)

    def _learnt(self, profiles: Tensor, independent: list[Group]) -> Tensor:
        """Which targets have been learnt and belong to an independent group that leaves nothing over, `[m]` bool."""
        features, classes = self.state["features"], self.state["classes"]
        complete = [f for group in independent if group.left is None for f in group.features]
        in_complete_group = torch.isin(features, torch.tensor(complete, dtype=torch.long))
        return stands_for(profiles[:, features], classes.T, self.recipe.same) & in_complete_group

    def _place(self, group: Group, profiles: Tensor, landmarks: Tensor, peaks: Tensor, labels: Tensor) -> Tensor | None:
        """The place of a group's features among landmarks, `[2 L + 1, 2]`; None if most of them are elsewhere."""
        images = torch.arange(len(labels))
        marked = peaks[images[:, None], landmarks[labels]]  # (N, L, 2)
        own = peaks[images, group.features_of_classes(profiles)[labels]]  # (N, 2)
        place, found = fit_place(marked, own, ~group.left[labels], self.recipe, least=0.5)
        return place if found else None
