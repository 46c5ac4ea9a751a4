"""Networks whose features look at places: a feature is what is seen around its place, and nowhere else."""

import pytest
import torch

from architectures.backbones.frozen import FrozenPart, trained_part
from architectures.backbones.placed import PlacedBackbone, place_scores, visibility, windows
from architectures.backbones.registry import backbone_of, backbone_spec, build_backbone
from architectures.classifier import build_dense_model
from configs.errors import UsageError
from configs.settings import parse_settings

NAME = "convnext_atto@4places"
SIDE = 128


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = build_dense_model(NAME, 3, frozen=True).eval()
    torch.nn.init.normal_(model.backbone.places.weight, std=0.1)
    return model


def scores_of_places(backbone: PlacedBackbone, images):
    return place_scores(backbone.middle_maps(images), backbone.places.weight[..., 0, 0], backbone.places.bias)


def test_a_feature_is_the_mean_of_its_map_around_its_place_times_how_visible_that_is(model):
    backbone = model.backbone
    plain = build_dense_model("convnext_atto", 3, frozen=True).eval()
    own = model.state_dict()
    plain.load_state_dict({key: own[key] for key in plain.state_dict()})
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        maps, everywhere, scores = backbone(images), plain.backbone(images), scores_of_places(backbone, images)
    around, visible = windows(scores), visibility(scores)
    torch.testing.assert_close(around.sum(dim=(2, 3)), torch.ones(2, 4))
    assert visible.std() > 0.01
    assert not torch.allclose(around[:, 0], around[:, 1], atol=1e-3)
    for feature in (0, 5, 318):
        expected = (everywhere[:, feature] * around[:, feature % 4]).sum(dim=(1, 2))
        torch.testing.assert_close(backbone.pool(maps)[:, feature], expected * visible[:, feature % 4])
    with torch.inference_mode():
        some = backbone(images, torch.tensor([318, 5]))
    torch.testing.assert_close(some, maps[:, [318, 5]])


def test_a_place_is_more_visible_the_better_its_best_cell():
    scores = torch.full((3, 1, 5, 5), -9.0)
    scores[:, 0, 2, 2] = torch.tensor([-2.0, 0.0, 2.0])
    hidden, usual, clear = visibility(scores)
    assert 0 < hidden < usual == 1 < clear < 2


def test_training_sees_places_as_equally_visible(model):
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        visible = visibility(scores_of_places(model.backbone, images))[:, torch.arange(model.backbone.n_features) % 4]
        features = model(images).features
        part, frozen = trained_part(model), FrozenPart(model.backbone)(images)
        torch.testing.assert_close(part.train()(frozen).features * visible, features)


@pytest.mark.parametrize("reduced", [False, True])
def test_the_trained_and_the_frozen_part_make_the_whole(model, reduced):
    backbone = model.backbone
    backbone.reduce_strides(reduced)
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        whole = model(images).logits
        torch.testing.assert_close(trained_part(model)(FrozenPart(backbone)(images)).logits, whole)
        assert backbone.train_last_stage()
        model.eval()
        frozen = FrozenPart(backbone)(images)
        torch.testing.assert_close(trained_part(model)(frozen).logits, whole, rtol=1e-4, atol=1e-4)
    assert frozen.shape[-1] == (SIDE // 8 if reduced else SIDE // 16 // 2 * 2)


def test_places_are_never_trained(model):
    assert model.backbone.train_last_stage()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and not any(name.startswith("backbone.places") for name in trained)


def test_an_object_that_moves_takes_its_window_along(model):
    images = torch.zeros(2, 3, SIDE, SIDE)
    patch = torch.rand(3, 40, 40)
    images[0, :, 24:64, 24:64] = patch
    images[1, :, 56:96, 56:96] = patch
    with torch.inference_mode():
        around = windows(scores_of_places(model.backbone, images))
    rows = (torch.arange(around.shape[2]) + 0.5) / around.shape[2]
    centre = (around.sum(dim=3) * rows).sum(dim=2)  # [2, 4]
    moved = centre[1] - centre[0]
    assert ((moved - 32 / SIDE).abs() < 1 / 16).sum() >= 2, moved


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--arch vit_tiny_patch16_224@8places --freeze_backbone", "vit_tiny_patch16_224 has no places"),
        (f"--arch {NAME}", "add --freeze_backbone"),
        ("--arch convnext_atto@5places --freeze_backbone", "similar names are convnext_atto@"),
    ],
)
def test_what_cannot_look_at_places_is_refused(flags, complaint):
    (settings,) = parse_settings(["--dataset", "CUB2011", *flags.split()], "")
    with pytest.raises(UsageError, match=complaint):
        backbone_of(settings)


def test_torchvisions_names_are_timms_before_an_at_sign():
    (settings,) = parse_settings(["--dataset", "CUB2011", "--arch", "timm/resnet18@8places", "--freeze_backbone"], "")
    assert backbone_of(settings) == backbone_spec("timm/resnet18@8places")


@pytest.mark.parametrize("network", ["tf_efficientnet_lite0", "regnety_002"])
@pytest.mark.parametrize("reduced", [False, True])
def test_the_maps_are_those_of_the_network_alone(network, reduced):
    torch.manual_seed(0)
    alone, placed = build_backbone(network).eval(), build_backbone(f"{network}@4places").eval()
    placed.load_state_dict({**placed.state_dict(), **alone.state_dict()})
    images = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        for backbone in (alone, placed):
            backbone.reduce_strides(reduced)
        torch.testing.assert_close(placed.maps(images)[:, :-4], alone.maps(images))
