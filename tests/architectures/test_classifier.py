"""The networks: torchvision's parameter names, feature maps' sizes, and weights from files."""

from urllib.error import URLError

import pytest
import torch
from state_files import Malicious, save
from torchvision.models import resnet18

from architectures.backbones import weights
from architectures.classifier import build_dense_model
from configs.errors import RunError


@pytest.mark.parametrize(("reduced", "side"), [(True, 8), (False, 2)])
def test_feature_maps_keep_their_resolution_on_request(reduced, side):
    output = build_dense_model("resnet18", 3, "none", reduced)(torch.rand(2, 3, 64, 64))
    assert output.feature_maps.shape == (2, 512, side, side)
    assert output.logits.shape == (2, 3) and (output.feature_maps >= 0).all()


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
def test_parameter_names_are_torchvisions(arch):
    from torchvision import models

    theirs = {k.replace("fc.", "linear.") for k in getattr(models, arch)().state_dict()}
    assert set(build_dense_model(arch, 7, "none").state_dict()) == theirs


def test_backbone_weights_come_from_a_file_and_the_classifier_if_it_fits(tmp_path):
    state = resnet18(num_classes=4).state_dict()
    file = save(state, tmp_path / "weights.pth")
    other = build_dense_model("resnet18", 3, file)
    assert torch.equal(other.backbone.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert not other.has_classifier
    same = build_dense_model("resnet18", 4, file)
    assert same.has_classifier and torch.equal(same.linear.weight, state["fc.weight"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no checkpoint at"),
        (lambda path: path.write_bytes(b""), "cannot be read as a checkpoint"),
        (lambda path: path.write_text("not a checkpoint"), "is not"),
        (lambda path: save([1, 2], path), "does not hold a state dict"),
        (lambda path: save({"a": Malicious()}, path), "is not a plain state dict"),
        (lambda path: save(resnet18().state_dict(), path), "do not fit resnet34"),
        (
            lambda path: path.write_bytes(
                (save(resnet18().state_dict(), path) and path.read_bytes())[:100_000]
            ),
            "checkpoint",
        ),
    ],
    ids=["missing", "empty", "text", "list", "malicious", "other architecture", "truncated"],
)
def test_bad_weights_are_one_clear_line_and_run_no_code(tmp_path, capsys, make, message):
    path = tmp_path / "weights.pth"
    make(path)
    with pytest.raises(RunError) as refusal:
        build_dense_model("resnet34", 3, str(path))
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert "code ran" not in capsys.readouterr().out


def test_a_failed_download_says_what_else_to_do(monkeypatch):
    def offline(arch):
        raise URLError("no route to host")

    monkeypatch.setattr(weights, "get_model_weights", offline)
    with pytest.raises(RunError, match=r"could not be downloaded .*--weights none"):
        build_dense_model("resnet18", 3, "imagenet")


def test_published_keys_are_read_and_written_inside_another_module_too():
    model = build_dense_model("resnet18", 3)
    wrapped = torch.nn.Sequential(model)
    state = wrapped.state_dict()
    assert list(state) == [f"0.{key}" for key in model.state_dict()]
    state["0.conv1.weight"] = torch.ones_like(state["0.conv1.weight"])
    wrapped.load_state_dict(state)
    assert (model.backbone.conv1.weight == 1).all()
