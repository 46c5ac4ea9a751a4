"""Networks of timm that end early: what a cell sees is known, and the weights of the whole network fit."""

import copy

import pytest
import torch

from architectures.backbones.registry import backbone_spec, build_backbone
from architectures.backbones.timm_models import timm_network
from architectures.classifier import build_dense_model
from configs.errors import UsageError

NAME = "tf_efficientnet_lite0@8"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_dense_model(NAME, 3, frozen=True).eval()


def test_pixels_outside_the_field_change_nothing_and_the_field_is_no_larger_than_needed(model):
    backbone, spec = model.backbone, backbone_spec(NAME)
    side, cells, cell = spec.img_size, spec.img_size // 8, 14
    first, last = (round(edge) for edge in backbone.seen_pixels(cell, cells, side))
    assert last - first == spec.receptive_field == backbone.receptive_field < side / 2
    inside = torch.zeros(1, 3, side, side)
    inside[..., first:last, first:last] = 1
    noise = 5 * torch.randn(1, 3, side, side)
    with torch.inference_mode():
        blank = backbone(torch.zeros(1, 3, side, side))
        around = backbone(noise * (1 - inside))
    assert blank.shape == (1, spec.n_features, cells, cells)
    torch.testing.assert_close(around[..., cell, cell], blank[..., cell, cell])
    assert not torch.allclose(around[..., cell, cell + 1], blank[..., cell, cell + 1])


def test_only_what_lies_behind_a_frozen_network_is_trained(model):
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith(("backbone.adapter.", "linear.")) for name in trained)
    model.train()
    assert not model.backbone.network.training and model.backbone.adapter.training
    model.eval()


def test_its_maps_can_be_scaled_as_finetuning_does_behind_a_frozen_network(model):
    backbone = copy.deepcopy(model.backbone)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = backbone(images)
        backbone.scale_maps(torch.tensor([2, 0]), torch.tensor([3.0, 0.5]))
        after = backbone(images)
    factors = torch.ones(backbone.n_features)
    factors[2], factors[0] = 3, 0.5
    torch.testing.assert_close(after, before * factors[:, None, None])


def test_weights_of_the_whole_network_fit(tmp_path):
    whole = timm_network("tf_efficientnet_lite0")
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    model = build_dense_model(NAME, 3, weights=str(tmp_path / "weights.pth"))
    own = model.backbone.network.conv_stem.weight
    assert torch.equal(own, whole.conv_stem.weight) and not model.has_classifier


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18d@2", "unknown arch"),
        ("mobilenetv3_small_050@16", "sees the whole image"),
        ("vit_tiny_patch16_224@16", "cannot be cut off"),
    ],
)
def test_networks_that_cannot_be_bounded_are_refused(name, said):
    with pytest.raises(UsageError, match=said):
        build_backbone(name)
