"""Backbones by name: what is said of one before it is built is true, and wrong requests are one line."""

import pytest
import torch
from refusals import refused

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


@pytest.mark.parametrize(
    "name", ["resnet34", "local15", "convnext_atto", "tf_efficientnet_lite0@8", "convnext_atto@4places"]
)
def test_every_backbone_is_of_one_family_which_knows_its_name(name):
    (family,) = (family for family in FAMILIES if name in family.names())
    assert family.spec(name).name == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("ResNet50", "resnet50"),
        ("timm/ResNet50", "timm/resnet50"),
        ("timm/tf_efficientnet_lite0", "tf_efficientnet_lite0"),
        ("tf_efficientnet_lite0.in1k", "tf_efficientnet_lite0.in1k"),
    ],
)
def test_a_backbone_has_one_spelling(given, name):
    settings, *_ = parse_settings(["--arch", given], "")
    assert settings.arch == backbone_of(settings).name == name


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--arch resnet19", "unknown arch 'resnet19'; similar names are resnet18"),
        ("--arch no-such-network", "unknown arch 'no-such-network'; similar names are resnet18, resnet34, resnet50"),
        ("--arch ResNet18 --n_features 513", "resnet18 has only 512 features"),
        ("--arch resnet18 --dataset ImageFolder --model_type sldd --n_per_class 513", "has only 512 features"),
        ("--arch tf_efficientnet_lit0", "unknown arch 'tf_efficientnet_lit0'; similar names are tf_efficientnet_lite0"),
        ("--arch vit_tiny_patch16_224 --img_size 100", "must be a multiple of 16 pixels for vit_tiny"),
        ("--arch swin_tiny_patch4_window7_224 --img_size 64", "must be 224 pixels for swin_tiny"),
        ("--arch inception_v3 --img_size 32", "must be at least 76 pixels for inception_v3, not 32"),
        ("--img_size 100000", "--img_size must be at most 4096 pixels for resnet50, not 100000"),
        ("--img_size 16", "--img_size must be at least 32 pixels for resnet50, not 16"),
    ],
)
def test_what_a_backbone_does_not_have_is_refused_in_one_line(flags, message):
    settings, *_ = parse_settings(flags.split(), "")
    with refused(UsageError, message):
        backbone_of(settings)
