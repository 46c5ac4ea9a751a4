"""Local backbones: what a cell sees, and that features of an image are maxima of shares."""

import pytest
import torch

from architectures.backbones.registry import backbone_spec, build_backbone
from architectures.classifier import build_dense_model


@pytest.mark.parametrize(("name", "pixels"), [("local15", 23), ("local19", 27)])
def test_a_cell_of_a_sparse_model_sees_its_receptive_field_and_nothing_else(name, pixels):
    torch.manual_seed(0)
    backbone = build_backbone(name).eval()
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    maps = backbone(image, torch.tensor([0]))
    assert maps.shape == (1, 1, 16, 16)
    maps[0, 0, 8, 8].backward()
    rows = image.grad[0].abs().sum(dim=(0, 2)).nonzero()[:, 0]
    field = int(rows.max() - rows.min()) + 1
    assert backbone.seen_pixels(8, 16, 64) == (rows.min(), rows.max() + 1)
    assert field == backbone.receptive_field == backbone_spec(name).receptive_field == pixels


def test_features_share_every_cell_and_an_image_has_their_maxima():
    torch.manual_seed(0)
    model = build_dense_model("local15", 3).eval()
    output = model(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(output.feature_maps.sum(dim=1), torch.ones(2, 8, 8))
    torch.testing.assert_close(output.features, output.feature_maps.amax(dim=(2, 3)))


def test_maps_of_a_sparse_model_are_largest_in_the_middle_of_where_a_feature_is_present():
    backbone = build_backbone("local15")
    present = torch.zeros(1, backbone.n_features, 16, 16)
    present[0, 3, 4:9, 6:9] = 1
    backbone.maps = lambda images: present
    smooth = backbone(torch.empty(0), torch.tensor([3]))[0, 0]
    torch.testing.assert_close(smooth.amax(), torch.tensor(1.0))
    assert (smooth > 0.99).nonzero().tolist() == [[5, 7], [6, 7], [7, 7]]
