"""Features for looks that follow from the absence of others.

Of the looks of one part, a network learns no feature for the last one: "no hook, no spear, no spoon" is as good as a
cone. Groups of alternatives show such a look as the set of classes that they leave over
(`sparsification/alternatives.py`). Several times in the dense training such sets become targets of features that vary
little: each is to have a place in every image of its classes, and in no other image. A set that is no look has no such
place; its feature does not learn it, and another set takes its turn.
"""

import torch
from torch import Tensor

from sparsification.alternatives import class_profiles, left_over_sets, stands_for
from training.losses import presence_loss

AT_ONCE = 5  # targets


class LeftOverLooks:
    """The targets: which feature is to be in which classes.

    Attributes:
        state: `features` `[m]` and `classes` `[C, m]` bool; changed in place, for it is kept in checkpoints.
    """

    def __init__(self, n_classes: int):
        self.state = {
            "features": torch.zeros(0, dtype=torch.long),
            "classes": torch.zeros(n_classes, 0, dtype=torch.bool),
        }

    def renew(self, pooled: Tensor, labels: Tensor) -> None:
        """Keep the targets that have been learnt, and put sets that are left over now in place of the others.

        Args:
            pooled: features in [0, 1] of training images, `[N, F]`.
            labels: their classes, `[N]`.
        """
        profiles = class_profiles(pooled, labels)
        features, classes = self.state["features"], self.state["classes"]
        learnt = stands_for(profiles[:, features], classes)
        new = left_over_sets(profiles, AT_ONCE - int(learnt.sum()), classes[:, learnt])
        quiet = pooled.std(dim=0).argsort()
        spare = quiet[~torch.isin(quiet, features[learnt])][: new.shape[1]]
        self.state["features"] = torch.cat([features[learnt], spare])
        self.state["classes"] = torch.cat([classes[:, learnt], new], dim=1)

    def loss(self, pooled: Tensor, targets: Tensor) -> Tensor:
        """`presence_loss` of the target features of a batch, a scalar.

        Args:
            pooled: features in [0, 1], `[B, F]`.
            targets: `[B]`.
        """
        features, classes = (value.to(pooled.device) for value in self.state.values())
        return presence_loss(pooled[:, features], targets, classes)
