"""Looks that follow from the absence of others: they become targets, and are kept once they are learnt."""

import numpy as np
import pytest
import torch

from dataset_classes.bird_parts import LOOKS
from dataset_classes.synthetic_birds import CLASS_PARTS, one_hot_looks
from training.left_over_looks import LeftOverLooks

NAMES = [look for looks in LOOKS.values() for look in looks]
PER_CLASS, SPARE = 5, 10
LABELS = torch.arange(len(CLASS_PARTS)).repeat_interleave(PER_CLASS)
OF_LOOKS = one_hot_looks(CLASS_PARTS)


def pooled_features(columns: np.ndarray) -> torch.Tensor:
    images = np.repeat(columns, PER_CLASS, axis=0)
    noise = np.random.default_rng(0).random(images.shape)
    return torch.from_numpy(0.9 * images + 0.05 * noise)


def without(*missing: str) -> np.ndarray:
    """The features of all looks but these, and some of nothing."""
    nothing = np.zeros((len(OF_LOOKS), SPARE))
    columns = np.delete(OF_LOOKS, [NAMES.index(look) for look in missing], axis=1)
    return np.concatenate([columns, nothing], axis=1)


def test_a_missing_look_is_given_to_a_spare_feature():
    looks = LeftOverLooks(len(CLASS_PARTS))
    looks.renew(pooled_features(without("cone", "cream")), LABELS)
    features, classes = looks.state["features"], looks.state["classes"].T.numpy()
    assert len(features.unique()) == len(features) == len(classes)
    assert (features >= 18).all()  # those of nothing
    for missing in ("cone", "cream"):
        assert (classes == OF_LOOKS[:, NAMES.index(missing)]).all(axis=1).any()


def test_where_every_look_has_a_feature_there_is_nothing_to_learn():
    looks = LeftOverLooks(len(CLASS_PARTS))
    looks.renew(pooled_features(without()), LABELS)
    assert len(looks.state["features"]) == 0
    assert looks.loss(torch.rand(4, 30), torch.arange(4)) == 0


def test_what_is_learnt_is_kept_and_what_is_not_makes_room():
    looks = LeftOverLooks(len(CLASS_PARTS))
    columns = without("cone")
    cone = OF_LOOKS[:, NAMES.index("cone")] > 0
    looks.state["features"] = torch.tensor([25, 26])
    looks.state["classes"] = torch.from_numpy(np.stack([cone, OF_LOOKS[:, 0] > 0], axis=1))
    columns[:, 25] = cone
    looks.renew(pooled_features(columns), LABELS)
    assert looks.state["features"].tolist() == [25]
    assert looks.state["classes"][:, 0].tolist() == cone.tolist()


def test_the_loss_asks_for_presence_in_the_classes_and_absence_in_others():
    looks = LeftOverLooks(4)
    looks.state["features"] = torch.tensor([2])
    looks.state["classes"] = torch.tensor([[True], [False], [False], [False]])
    pooled = torch.full((4, 3), 0.5, requires_grad=True)
    looks.loss(pooled, torch.arange(4)).backward()
    assert (pooled.grad[:, :2] == 0).all()
    assert pooled.grad[0, 2] < 0 and (pooled.grad[1:, 2] > 0).all()
    assert pooled.grad[:, 2].sum().item() == pytest.approx(0, abs=1e-6)  # both count alike
