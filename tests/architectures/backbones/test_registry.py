"""Backbones by name: what is said of one before it is built is true, and wrong requests are one line."""

import pytest
import torch

from architectures.backbones.registry import FAMILIES, backbone_of, backbone_spec, build_backbone
from configs.errors import UsageError
from configs.settings import parse_settings


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_what_is_said_of_a_backbone_is_true(name):
    spec, backbone = backbone_spec(name), build_backbone(name).eval()
    with torch.inference_mode():
        maps = backbone(torch.rand(1, 3, spec.min_size, spec.min_size))
    assert (spec.name, spec.n_features) == (name, maps.shape[1]) == (name, backbone.n_features)
    assert (maps >= 0).all() and spec.receptive_field == backbone.receptive_field


def test_every_family_knows_its_names():
    for family in FAMILIES:
        name = next(iter(family.names()))
        assert family.spec(name).name == name


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--arch resnet19", "unknown arch 'resnet19'; similar names are resnet18"),
        ("--arch no-such-network", "unknown arch 'no-such-network'; similar names are resnet18, resnet34, resnet50"),
        ("--arch ResNet18 --n_features 513", "resnet18 has only 512 features"),
        ("--img_size 16", "--img_size must be at least 32 pixels for resnet50, not 16"),
    ],
)  # fmt: skip
def test_what_a_backbone_does_not_have_is_refused_in_one_line(flags, message):
    settings, *_ = parse_settings(flags.split(), "")
    with pytest.raises(UsageError) as refusal:
        backbone_of(settings)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
