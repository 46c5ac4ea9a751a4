"""Training the last stage of a network alone."""

import pytest
import torch

from architectures.backbones.frozen import FrozenPart, trained_part
from architectures.backbones.registry import build_backbone
from architectures.classifier import InterpretableClassifier


@pytest.mark.parametrize(
    ("arch", "frozen"), [("resnet18", False), ("resnet18", True), ("convnext_atto", False), ("convnext_atto", True)]
)
def test_only_the_last_stage_and_what_follows_it_learn(arch, frozen):
    torch.manual_seed(0)
    backbone = build_backbone(arch)
    if frozen:
        backbone.freeze()
    assert backbone.train_last_stage()
    model = InterpretableClassifier(backbone, torch.nn.Linear(backbone.n_features, 3)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    images, targets = torch.rand(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])
    torch.nn.functional.cross_entropy(model(images).logits, targets).backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    stage = "layer4." if arch == "resnet18" else "network.stages.3."
    later = ("linear.", "adapter.", "network.norm_pre", "network.head")
    assert {key for key in changed if key.startswith(stage)}
    assert all(key.startswith((stage, *later)) for key in changed), changed
    assert frozen == any(key.startswith("adapter.") for key in changed)


@pytest.mark.parametrize("arch", ["resnet18", "convnext_atto"])
def test_the_two_parts_are_the_whole(arch):
    model = InterpretableClassifier(build_backbone(arch), torch.nn.Linear(1, 1)).eval()
    model.linear = torch.nn.Linear(model.backbone.n_features, 3)
    assert model.backbone.train_last_stage()
    images = torch.rand(2, 3, 64, 96)
    frozen = FrozenPart(model.backbone)(images)
    assert frozen.shape[1] < model.backbone.n_features
    assert torch.equal(trained_part(model)(frozen).logits, model(images).logits)


def test_a_network_without_a_stage_to_train_alone_is_left_as_it_is():
    backbone = build_backbone("mobilenetv3_small_050")  # its last stage is less than a tenth of it
    assert not backbone.train_last_stage()
    assert not backbone.has_frozen_part and all(p.requires_grad for p in backbone.parameters())
