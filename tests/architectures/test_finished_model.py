"""Published checkpoints: state dicts in exactly their format, in any precision, and files that are something else."""

from functools import partial

import pytest
import torch
from refusals import refused
from state_files import WEIGHT, published, save

from architectures.classifier import build_dense_model
from architectures.finished_model import load_finished_model
from configs.errors import RunError
from configs.hardware import Hardware
from configs.run_folder import RunFolder
from configs.settings import Settings, resolve

CLASSES = ["robin", "wren", "owl"]
FILE = "chiqpm_4_2_FinetunedModel.pth"
OWN_KEYS = {"linear.selection", "linear.layer.weight", "linear.mean", "linear.std"}


def load(folder, *, classes=CLASSES, **changes):
    settings = {"dataset": "CUB2011", "arch": "resnet18", "n_features": 4, "n_per_class": 2}
    settings = resolve(Settings(**{**settings, **changes}))
    return load_finished_model(settings, RunFolder(folder), classes, Hardware.choose("cpu", 0))


def test_the_published_format_is_ours():
    state = published()[1]
    assert {key for key in state if key.startswith("linear.")} == OWN_KEYS
    assert state["linear.selection"].dtype == torch.int64
    with_bias = published(bias=torch.zeros(3))[1]
    assert set(with_bias) - set(state) == {"linear.layer.bias"}


@pytest.mark.parametrize("bias", [None, torch.tensor([0.5, -1.0, 2.0])], ids=["plain", "bias"])
@pytest.mark.parametrize("precision", [torch.float16, torch.float32, torch.float64])
def test_published_models_predict_as_they_did(tmp_path, bias, precision):
    model, state = published(bias)
    rounded = {k: v.to(precision) if v.is_floating_point() else v for k, v in state.items()}
    model.load_state_dict(rounded)
    save(rounded, tmp_path / FILE)
    loaded = load(tmp_path)
    assert loaded.linear.relu and not loaded.training
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        found, expected = loaded(image), model(image)
    assert found.logits.dtype == torch.float32
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.features, expected.features)


def test_models_that_did_not_count_batches_load(tmp_path):
    _, state = published()
    save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / FILE)
    assert torch.equal(load(tmp_path).backbone.conv1.weight, state["conv1.weight"])


def test_a_model_of_gpu_tensors_loads(tmp_path, monkeypatch):
    # Storages are tagged with their device when written; the tag is what another machine sees.
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    _, state = published()
    save(state, tmp_path / FILE)
    monkeypatch.undo()
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(tmp_path / FILE, weights_only=True)
    loaded = load(tmp_path)
    assert loaded.linear.weight.device.type == "cpu"
    assert torch.equal(loaded.linear.weight, WEIGHT)


def changed(path, **entries):
    save({**published()[1], **{k.replace("__", "."): v for k, v in entries.items()}}, path)


def save_dense(path):
    save(build_dense_model("resnet18", 3).state_dict(), path)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (lambda path: None, {}, "no checkpoint at"),
        (lambda path: save(published(arch="resnet34")[1], path), {}, "does not fit --arch resnet18"),
        (changed, {"arch": "resnet34"}, "does not fit --arch resnet34"),
        (changed, {"arch": "resnet50"}, "does not fit --arch resnet50"),
        (changed, {"classes": CLASSES[:2]}, "knows 3 classes, but CUB2011"),
        (partial(changed, optimizer=torch.ones(1)), {}, "optimizer is unknown"),
        (partial(changed, linear__layer__weight=WEIGHT[0]), {}, "must have shape [C, n]"),
        (partial(changed, linear__mean=torch.ones(3)), {}, "mean must have shape [4]"),
        (partial(changed, linear__layer__bias=torch.ones(2)), {}, "bias must have shape [3]"),
        (partial(changed, linear__std=torch.tensor([1, 1, 1, torch.nan])), {}, "linear.std in"),
        (partial(changed, linear__selection=torch.tensor([0, 1, 2, 512])), {}, "features that"),
        (partial(changed, linear__layer__weight=-WEIGHT), {}, "give the --model_type"),
        (save_dense, {}, "is not a sparse model: linear.selection is missing"),
    ],
    ids=[
        "missing", "larger network", "smaller network", "other network", "other classes", "extra entry",
        "weight of one class", "short mean", "short bias", "not finite", "selection out of range", "signed weights",
        "dense model",
    ],
)  # fmt: skip
def test_other_files_are_one_clear_line(tmp_path, make, settings, message):
    make(tmp_path / FILE)
    with refused(RunError, message, FILE):
        load(tmp_path, **settings)
