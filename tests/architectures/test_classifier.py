"""The networks: torchvision's parameter names and feature maps' sizes."""

import pytest
import torch

from architectures.classifier import build_dense_model


@pytest.mark.parametrize(("reduced", "side"), [(True, 8), (False, 2)])
def test_feature_maps_keep_their_resolution_on_request(reduced, side):
    output = build_dense_model("resnet18", 3, "none", reduced)(torch.rand(2, 3, 64, 64))
    assert output.feature_maps.shape == (2, 512, side, side)
    assert output.logits.shape == (2, 3) and (output.feature_maps >= 0).all()


def test_published_keys_are_read_and_written_inside_another_module_too():
    model = build_dense_model("resnet18", 3)
    wrapped = torch.nn.Sequential(model)
    state = wrapped.state_dict()
    assert list(state) == [f"0.{key}" for key in model.state_dict()]
    state["0.conv1.weight"] = torch.ones_like(state["0.conv1.weight"])
    wrapped.load_state_dict(state)
    assert (model.backbone.conv1.weight == 1).all()
