"""Looks that follow from the absence of others become targets at the place of their part, and are kept once learnt."""

import numpy as np
import torch
from birds_of_parts import NAMES, OF_LOOKS, PER_CLASS, SPARE, classes_with, uniform, where_parts_are

from configs.recipes import GroupsRecipe
from dataset_classes.bird_parts import LOOKS
from dataset_classes.synthetic_birds import CLASS_PARTS
from training.left_over_looks import LeftOverLooks

CELLS = 32
LABELS = torch.arange(len(CLASS_PARTS)).repeat_interleave(PER_CLASS)
PARTS = torch.tensor([[-0.3, 0.1], [-0.25, 0.25], [0.0, -0.05], [0.15, 0.1], [0.1, -0.3]])  # of a bird: row, column


def birds(*missing: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of all looks but the missing ones, and of nothing; labels; their peaks; and where the parts are.

    Birds are mirrored, turned, scaled and moved at random.
    """
    random = uniform()
    parts = where_parts_are(PARTS, len(LABELS), random)
    shown = torch.from_numpy(np.concatenate([OF_LOOKS, np.zeros((len(OF_LOOKS), SPARE))], axis=1))
    shown[:, [NAMES.index(look) for look in missing]] = 0
    shown = shown[LABELS]
    of_part = torch.arange(shown.shape[1]).clamp(max=len(NAMES) - 1) // 4
    peaks = torch.where(shown[:, :, None] > 0, parts[:, of_part], random(*shown.shape, 2))
    return 0.9 * shown.float() + 0.05 * random(*shown.shape), LABELS, peaks, parts


def test_a_missing_look_is_given_to_a_spare_feature():
    looks = LeftOverLooks(len(CLASS_PARTS), GroupsRecipe())
    looks.renew(*birds("cone", "cream")[:3])
    features, classes = looks.state["features"], looks.state["classes"]
    assert len(features.unique()) == len(features) == len(classes) == len(looks.state["places"])
    given = set(range(len(NAMES), len(NAMES) + SPARE)) | {NAMES.index("cone"), NAMES.index("cream")}
    assert set(features.tolist()) <= given
    for missing in ("cone", "cream"):
        assert (classes == classes_with(missing)).all(dim=1).any()


def test_where_every_look_has_a_feature_there_is_nothing_to_learn():
    looks = LeftOverLooks(len(CLASS_PARTS), GroupsRecipe())
    looks.renew(*birds()[:3])
    assert len(looks.state["features"]) == 0
    assert looks.loss(torch.rand(4, 30, 8, 8), torch.arange(4)) == 0


def test_a_group_whose_looks_are_anywhere_is_no_part():
    pooled, labels, peaks, _ = birds("cone")
    beaks = [NAMES.index(look) for look in LOOKS["beak"]]
    peaks[:, beaks] = torch.rand(len(labels), 4, 2, generator=torch.Generator().manual_seed(0))
    looks = LeftOverLooks(len(CLASS_PARTS), GroupsRecipe())
    looks.renew(pooled, labels, peaks)
    assert len(looks.state["features"]) == 0


def test_what_is_learnt_is_kept_and_what_is_not_makes_room():
    pooled, labels, peaks, _ = birds("cone")
    looks = LeftOverLooks(len(CLASS_PARTS), GroupsRecipe())
    looks.renew(pooled, labels, peaks)
    place = looks.state["places"].clone()
    doubled = {name: torch.cat([rows, rows]) for name, rows in looks.state.items()}
    looks.state.update(doubled, features=torch.tensor([25, 26]))
    pooled[:, 25] = classes_with("cone")[labels].float()
    looks.renew(pooled, labels, peaks)
    assert looks.state["features"].tolist() == [25]
    assert looks.state["classes"][0].tolist() == classes_with("cone").tolist()
    assert torch.equal(looks.state["places"], place)


def test_the_feature_is_to_be_where_its_part_is_and_in_no_other_class():
    pooled, labels, peaks, parts = birds("cone")
    looks = LeftOverLooks(len(CLASS_PARTS), GroupsRecipe())
    looks.renew(pooled, labels, peaks)
    (feature,) = looks.state["features"].tolist()
    image = torch.arange(len(labels))
    maps = 0.01 * torch.rand(len(labels), pooled.shape[1], CELLS, CELLS)
    for f in range(pooled.shape[1]):
        row, column = (peaks[:, f] * CELLS).long().clamp(0, CELLS - 1).T
        maps[image, f, row, column] = pooled[:, f]

    def loss_of(place: torch.Tensor) -> float:
        row, column = (place * CELLS).long().clamp(0, CELLS - 1).T
        shown = maps.clone()
        shown[:, feature] = 0.01
        shown[image, feature, row, column] = classes_with("cone")[labels].float().clamp(min=0.01)
        return looks.loss(shown, labels).item()

    beak, tail = parts[:, 1], parts[:, 4]
    assert loss_of(beak) < 0.2 < 1 < loss_of(tail)
    shown = maps.requires_grad_()
    looks.loss(shown, labels).backward()
    slope = shown.grad[:, feature].sum(dim=(1, 2))
    assert (slope[classes_with("cone")[labels]] < 0).all()
    assert (slope[~classes_with("cone")[labels]] > 0).all()
