"""The losses and their gradients against the published implementation."""

import math

import numpy as np
import pytest
import torch

from training.losses import (
    confusable_images_loss,
    feature_diversity_loss,
    feature_grounding_loss,
    hidden_rectangle_loss,
    mixed_images_loss,
)


@pytest.mark.parametrize("case", [1, 2])
def test_feature_diversity_loss_is_the_published_one(golden, case):
    data = golden(f"feature_diversity_loss_{case}")
    maps = torch.from_numpy(data["in_feature_maps"]).requires_grad_()
    loss = feature_diversity_loss(
        maps, torch.from_numpy(data["in_logits"]), torch.from_numpy(data["in_weight"]), float(data["in_beta"])
    )
    loss.backward()
    np.testing.assert_allclose(loss.item(), data["out_loss"], rtol=1e-6)
    np.testing.assert_allclose(maps.grad, data["out_grad_feature_maps"], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("case", [1, 2])
def test_feature_grounding_loss_is_the_published_one(golden, case):
    data = golden(f"feature_grounding_loss_{case}")
    features = torch.from_numpy(data["in_features"]).requires_grad_()
    targets, weight = torch.from_numpy(data["in_target"]), torch.from_numpy(data["in_weight"])
    loss = feature_grounding_loss(features, targets, weight)
    loss.backward()
    np.testing.assert_allclose(loss.item(), data["out_loss"], rtol=1e-6)
    np.testing.assert_allclose(features.grad, data["out_grad_features"], atol=1e-7, rtol=1e-5)


def test_the_dense_weight_learns_diversity_too():
    weight = torch.rand(3, 4, requires_grad=True)
    maps = torch.rand(2, 4, 5, 5)
    feature_diversity_loss(maps, torch.rand(2, 3), weight, 0.196).backward()
    assert weight.grad.abs().sum() > 0


def test_silent_features_give_finite_losses():
    maps = torch.zeros(2, 4, 5, 5)
    weight = torch.eye(4)[:3]
    assert torch.isfinite(feature_diversity_loss(maps, torch.zeros(2, 3), weight, 0.196))
    assert torch.isfinite(feature_grounding_loss(torch.zeros(2, 4), torch.tensor([0, 1]), weight))


def test_images_seen_at_once_have_the_largest_features_of_all():
    """Two images seen at once are 0 and 1, or one of them twice; the classifier reads the features as logits."""
    features, targets = torch.eye(2) * 4, torch.tensor([0, 1])
    torch.manual_seed(0)
    seen = {round(mixed_images_loss(features, targets, lambda x: x, 2).item(), 4) for _ in range(9)}
    both, alone = math.log(2), math.log(1 + math.exp(-4))  # logits (4, 4), and (4, 0) for class 0
    assert seen == {round(both, 4), round(alone, 4)}
    assert mixed_images_loss(features, targets, lambda x: x, 1).item() == pytest.approx(alone, rel=1e-4)


def test_an_image_is_mixed_with_the_one_it_is_most_easily_taken_for():
    features = torch.eye(4)[[0, 1, 2, 3]]
    targets = torch.tensor([0, 1, 2, 2])
    logits = torch.tensor([[9.0, 1, 5], [7, 9, 1], [0, 8, 9], [5, 0, 9]])
    partners = [2, 0, 1, 0]  # of another class, the most likely one
    expected = 0.0
    for i, j in enumerate(partners):
        both = torch.zeros(4)
        both[[i, j]] = 1
        expected -= both[:3].log_softmax(0)[targets[[i, j]]].mean().item() / 4
    loss = confusable_images_loss(features, targets, logits, lambda x: x[:, :3])
    assert loss.item() == pytest.approx(expected)


def test_nothing_is_confusable_in_a_batch_of_one_class():
    loss = confusable_images_loss(torch.rand(3, 4), torch.zeros(3).long(), torch.rand(3, 4), lambda x: x)
    assert loss == 0


def test_a_hidden_rectangle_hides_its_cells_and_no_others():
    """One feature per cell: what is left of them are the cells outside a rectangle, which differs between images."""
    cells = 9
    maps = torch.eye(cells**2).reshape(1, cells**2, cells, cells).expand(40, -1, -1, -1)
    seen = []
    hidden_rectangle_loss(maps, torch.zeros(40).long(), lambda x: seen.append(x) or x, 0.1)
    hidden = seen[0].reshape(40, cells, cells) == 0
    assert len(hidden.unique(dim=0)) > 20
    for image in hidden:
        rows, columns = image.any(dim=1), image.any(dim=0)
        assert torch.equal(image, rows[:, None] & columns)
        for line in (rows, columns):
            assert 3 <= line.sum() <= 6
            assert line.int().diff().abs().sum() <= 2  # one interval
