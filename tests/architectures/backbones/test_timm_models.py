"""Networks of timm: their maps are non-negative, as fine as asked, trainable, and come back from a state dict."""

import pytest
import timm
import torch
from fake_datasets import make_image_folder
from refusals import refused
from staged_runs import images_to_test, made_and_loaded, open_run

from architectures.backbones import timm_models
from architectures.backbones.registry import backbone_spec, build_backbone
from architectures.classifier import build_dense_model
from configs.errors import UsageError
from training.dense import check_weights, train_dense

SIDE = 64
SMALL = {
    "resnet": "timm/resnet18",
    "resnet-d": "resnet10t",
    "efficientnet": "tf_efficientnet_lite0",
    "convnext": "convnext_atto",
    "regnet": "regnetx_002",
    "mobilenet": "mobilenetv3_small_050",
}


@pytest.mark.parametrize("name", SMALL.values(), ids=SMALL)
def test_reduced_strides_give_finer_maps_of_the_same_features(name):
    torch.manual_seed(0)
    spec, backbone = backbone_spec(name), build_backbone(name).eval()
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        coarse = backbone(images)
        backbone.reduce_strides(True)
        fine = backbone(images)
        backbone.reduce_strides(False)
        torch.testing.assert_close(backbone(images), coarse)
    cells = SIDE // 8
    assert coarse.shape == (2, spec.n_features, SIDE // 32, SIDE // 32)
    assert fine.shape == (2, spec.n_features, cells, cells)
    assert (fine >= 0).all() and (coarse >= 0).all()
    assert spec.mean and spec.std and spec.interpolation in ("bilinear", "bicubic")


@pytest.mark.parametrize("name", [name for family, name in SMALL.items() if family != "resnet-d"])  # it has poolings
def test_every_fourth_cell_with_reduced_strides_has_the_value_of_an_ordinary_one(name):
    torch.manual_seed(0)
    backbone, images = build_backbone(name).eval(), torch.rand(1, 3, 256, 256)
    first, finer = backbone.layout.first, backbone.layout.finer
    with torch.inference_mode():
        coarse = backbone.maps(images)
        backbone.reduce_strides(True)
        fine = backbone.maps(images)[:, :, first::finer, first::finer]
    inside = slice(2, -2)  # at the edges, the padding of spread filters is another
    torch.testing.assert_close(fine[..., inside, inside], coarse[..., inside, inside], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("first", range(4))
def test_a_cell_is_spread_over_the_place_of_the_ordinary_cell_of_its_value(first):
    maps = torch.zeros(1, 1, 12, 8)
    maps[0, 0, first + 4, first] = 16
    there = torch.zeros(1, 1, 12, 8)
    there[0, 0, 4:8, :4] = 1
    torch.testing.assert_close(timm_models.spread(maps, 4, first), there)


def test_no_map_loses_or_gains_by_being_spread():
    torch.manual_seed(0)
    backbone, images = build_backbone("tf_efficientnet_lite0").eval(), torch.rand(1, 3, SIDE, SIDE)
    backbone.reduce_strides(True)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images).sum(dim=(2, 3)), backbone.maps(images).relu().sum(dim=(2, 3)))


@pytest.mark.parametrize("name", SMALL.values(), ids=SMALL)
def test_all_that_is_kept_of_a_network_is_trained_and_comes_back(name):
    torch.manual_seed(0)
    model = build_dense_model(name, 3)
    output = model(torch.rand(2, 3, SIDE, SIDE))
    (output.logits.logsumexp(dim=1).sum() + output.feature_maps.square().mean()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []
    twin = build_dense_model(name, 3)
    twin.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(twin.eval()(images).logits, model.eval()(images).logits)


@pytest.mark.parametrize(
    ("name", "patch"),
    [("vit_tiny_patch16_224", 16), ("vit_small_patch14_dinov2", 14), ("vit_small_patch16_dinov3", 16)],
)
def test_a_transformer_gives_a_map_of_its_patches(name, patch):
    spec, backbone = backbone_spec(name), build_backbone(name).eval()
    with torch.inference_mode():
        maps = backbone(torch.rand(1, 3, 2 * patch, 2 * patch))
    assert maps.shape == (1, spec.n_features, 2, 2) and (maps >= 0).all()
    assert spec.size_step == patch


def test_a_patch_shows_in_its_own_cell():
    torch.manual_seed(0)
    backbone = build_backbone("vit_tiny_patch16_224").eval()
    backbone.network.blocks = torch.nn.Sequential(torch.nn.Identity())  # tokens stay by themselves
    images = torch.zeros(2, 3, 64, 96)
    images[1, :, 32:48, 16:32] = 1
    with torch.inference_mode():
        plain, marked = backbone(images)
    changed = (plain - marked).abs().sum(dim=0).nonzero().tolist()
    assert changed == [[2, 1]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A few images of two classes."""
    root = tmp_path_factory.mktemp("photos")
    make_image_folder(root, train=4, test=2)
    return root


@pytest.mark.parametrize(
    ("name", "frozen"),
    [*((name, False) for name in SMALL.values()), ("vit_tiny_patch16_224", True)],
    ids=[*SMALL, "transformer"],
)
def test_a_network_is_trained_selected_from_finetuned_and_comes_back(name, frozen, photos, tmp_path):
    weights = "none"
    if frozen:
        weights = tmp_path / "weights.pth"
        torch.save(build_dense_model(name, 5).state_dict(), weights)
    flags = (
        f"--dataset ImageFolder --data_root {photos} --arch {name} --img_size {SIDE} --weights {weights} "
        f"--freeze_backbone {frozen} --schedule_scale 0.02 --set finetune.round_epochs=1 --batch_size 4 "
        "--certificate 0 --seed 0 --n_features 4 --n_per_class 3 --eval_every 0"
    )
    run = open_run(flags, tmp_path / "run")
    check_weights(run)
    assert not run.folder.path.exists()
    models, images = made_and_loaded(run, train_dense(run)), images_to_test(run)
    with torch.inference_mode():
        expected, found = (model(images) for model in models)
    assert torch.equal(found.logits, expected.logits) and found.logits.isfinite().all()
    cells = SIDE // 16 if frozen else SIDE // 8
    assert found.feature_maps.shape == (4, 4, cells, cells)


def test_only_what_follows_a_frozen_network_is_trained():
    torch.manual_seed(0)
    model = build_dense_model("mobilenetv3_small_050", 3, frozen=True).train()
    free = build_dense_model("mobilenetv3_small_050", 3).eval()
    own = model.state_dict()
    free.load_state_dict({key: x for key, x in own.items() if not key.startswith("adapter.")})
    images = torch.rand(2, 3, SIDE, SIDE)
    assert torch.equal(model.backbone(images), free.backbone(images))  # at first nothing changes
    before = {key: x.clone() for key, x in own.items()}
    model(images).logits.square().sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1).step()
    changed = {key for key, x in model.state_dict().items() if not torch.equal(x, before[key])}
    assert changed == {"adapter.weight", "adapter.bias", "linear.weight", "linear.bias"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mixer_b16_224", r"it makes \[196, 768\] of an image, and no maps of features"),
        ("cait_xxs24_224", "dynamic_img_size"),
    ],
)
def test_a_network_without_maps_is_refused_in_one_line(name, reason):
    with refused(UsageError, match=f"timm's {name} cannot be used: .*{reason}"):
        backbone_spec(name)


def test_every_size_of_image_that_is_promised_works():
    for name in ("inception_v3", "swin_tiny_patch4_window7_224"):
        spec = backbone_spec(name)
        with torch.device("meta"):
            backbone = build_backbone(name).eval()
            maps = backbone(torch.rand(1, 3, spec.min_size, spec.min_size))
        assert maps.shape[1] == spec.n_features
    assert spec.min_size == spec.max_size == 224


def test_a_network_of_timm_that_torchvision_has_as_well_needs_its_prefix():
    assert isinstance(build_backbone("timm/resnet18").network, timm.models.ResNet)
    assert not hasattr(build_backbone("resnet18"), "network")
