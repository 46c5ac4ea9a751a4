"""The classifier's state dict has the keys of the published checkpoints."""

import torch

from architectures.classifier import build_dense_model


def test_published_keys_are_read_and_written_inside_another_module_too():
    model = build_dense_model("resnet18", 3)
    wrapped = torch.nn.Sequential(model)
    state = wrapped.state_dict()
    assert list(state) == [f"0.{key}" for key in model.state_dict()]
    state["0.conv1.weight"] = torch.ones_like(state["0.conv1.weight"])
    wrapped.load_state_dict(state)
    assert (model.backbone.conv1.weight == 1).all()
