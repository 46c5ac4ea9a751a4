"""The losses and their gradients against the published implementation."""

import math

import numpy as np
import pytest
import torch

from training.losses import (
    feature_diversity_loss,
    feature_grounding_loss,
    mixed_images_loss,
)


@pytest.mark.parametrize("case", [1, 2])
def test_feature_diversity_loss_is_the_published_one(golden, case):
    data = golden(f"feature_diversity_loss_{case}")
    maps = torch.from_numpy(data["in_feature_maps"]).requires_grad_()
    loss = feature_diversity_loss(
        maps,
        torch.from_numpy(data["in_logits"]),
        torch.from_numpy(data["in_weight"]),
        float(data["in_beta"]),
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
    assert mixed_images_loss(features, targets, lambda x: x, 1).item() == pytest.approx(
        alone, rel=1e-4
    )
