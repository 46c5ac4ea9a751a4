"""The whole pipeline on a tiny CUB: every stage, resuming, stale settings, and the figures of a finished run."""

import json
import re
import shlex

import numpy as np
import pytest
import torch
from command_line import call, exit_code
from fake_datasets import make_cub, make_imagenet, save_image
from forked_runs import FEW_STRENGTHS, save_points, tiny_run
from matplotlib.figure import Figure

import compare_classes
import evaluation.__main__
import main
import training.loop
import visualize_tree
from architectures.classifier import build_dense_model
from sparsification.glm import path
from training.history import LOSS_TERMS, read_metrics

pytestmark = pytest.mark.usefixtures("narrow_networks")


@pytest.fixture
def train(tmp_path):
    """Calls main.py in a temporary folder; returns the run folder."""
    make_cub(tmp_path / "data", train=6, test=4)

    def train(*more, runs="runs"):
        folders = {"data_root": tmp_path / "data", "log_dir": tmp_path / runs}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Figure, "savefig", save_points)
            patch.setattr(path, "N_STRENGTHS", FEW_STRENGTHS)
            call(main, *tiny_run(schedule_scale=0.02, **folders), *more)
        return tmp_path / runs / "resnet18" / "CUB2011_crop" / "1"

    return train


@pytest.fixture
def epochs(monkeypatch):
    """Names of the phases trained, one entry per epoch."""
    trained = []
    original = training.loop.train_epoch

    def counted(model, phase, *rest):
        trained.append(phase.name)
        return original(model, phase, *rest)

    monkeypatch.setattr(training.loop, "train_epoch", counted)
    return trained


def contents(folder):
    """What a run has left, but for when and how."""
    files = [p for p in folder.iterdir() if p.suffix in (".pth", ".json", ".npz")]
    return {p.name: p.read_bytes() for p in files if p.name != "config.json"}


def sparse_state(folder, name="chiqpm_8_3"):
    return torch.load(folder / f"{name}_FinetunedModel.pth", weights_only=True)


@pytest.mark.parametrize("model_type", ["chiqpm", "qpm", "qsenn", "sldd"])
def test_a_run_leaves_its_results_and_is_not_done_twice(train, epochs, model_type, caplog):
    with caplog.at_level("INFO"):
        folder = train("--model_type", model_type)
    weight = sparse_state(folder, f"{model_type}_8_3")["linear.layer.weight"]
    assert 0 < weight.count_nonzero() <= 3 * 3
    if model_type == "qsenn":
        assert len(weight[weight != 0].abs().unique()) == 1
    results = json.loads((folder / f"Results_{model_type}_8_3_FinetunedModel.json").read_text())
    dense = json.loads((folder / "Results_DenseModel.json").read_text())
    assert 0 <= results["Accuracy"] <= 1 and 0 <= dense["Accuracy"] <= 1
    assert "compare_classes.py" in caplog.text and str(folder) in caplog.text
    if model_type in ("chiqpm", "qpm"):
        assert weight.sum(dim=1).tolist() == [3, 3, 3]
        assert len(weight.unique(dim=0)) == 3
    if model_type == "chiqpm":
        shared = weight @ weight.T
        assert (shared.triu(diagonal=1) == 2).sum() >= 1  # floor(0.5 * 3 classes) pairs share k - 1
    assert not list(folder.glob("*.partial")) and not list(folder.glob(".writing*"))

    before, epochs[:] = contents(folder), []
    train("--model_type", model_type)
    assert epochs == []
    assert contents(folder) == before


def test_only_what_depends_on_a_changed_setting_is_done_again(train, epochs):
    folder = train()
    dense = (folder / "Trained_DenseModel.pth").read_bytes()
    epochs.clear()
    train("--n_per_class", "2")
    assert epochs and "Dense" not in epochs
    assert (folder / "Trained_DenseModel.pth").read_bytes() == dense
    epochs.clear()
    train("--n_per_class", "2", "--set", "finetune.diversity_weight=0.1")
    assert epochs and "Dense" not in epochs
    epochs.clear()
    train("--img_size", "40", "--set", "finetune.round_epochs=1,1")
    assert "Dense" in epochs and epochs[-1] == "Finetuning round 2/2"


def test_a_stage_and_all_that_follow_are_done_again_on_request(train, epochs):
    folder = train()
    written = {path: path.stat().st_mtime_ns for path in folder.glob("*.*")}
    weights = sparse_state(folder)
    epochs.clear()
    train("--redo", "finetune")
    again = {path.name for path, time in written.items() if path.stat().st_mtime_ns != time}
    assert again >= {
        "chiqpm_8_3_FinetunedModel.pth",
        "chiqpm_8_3_Features_train.npz",
        "chiqpm_8_3_Calibration.npz",
        "Results_chiqpm_8_3_FinetunedModel.json",
    }
    assert not again & {"Trained_DenseModel.pth", "DenseFeatures_train.npy", "chiqpm_8_3_Selection.npz"}
    assert "Dense" not in epochs and "Finetuning round 4/4" in epochs
    assert all(torch.equal(value, weights[key]) for key, value in sparse_state(folder).items())


def test_figures_of_the_newest_run_and_by_the_commands_it_named(train, tmp_path, caplog):
    with caplog.at_level("INFO"):
        folder = train()
    of_folder = f"--folder {shlex.quote(str(folder))}"
    for script in (compare_classes, visualize_tree):
        assert re.search(f"python {script.__name__}.py {re.escape(of_folder)}$", caplog.text, re.M)
    newest = f"--arch resnet18 --weights none --img_size 32 --log_dir {folder.parents[2]}"
    newest += " --n_features 8 --n_per_class 3"
    for name, flags in (("newest", newest.split()), ("named", shlex.split(of_folder))):
        output = ["--device", "cpu", "--output", tmp_path / name]
        call(compare_classes, *flags, *output)
        call(visualize_tree, *flags, *output, "--index", "0")
        assert list((tmp_path / name / "TestvizQPMClassComparisons").rglob("*.png"))
        assert len(list((tmp_path / name / "CHiQPMExplanations").rglob("*.png"))) == 4
    results = folder / "Results_chiqpm_8_3_FinetunedModel.json"
    before = json.loads(results.read_text())
    results.unlink()
    call(evaluation.__main__, folder, "--device", "cpu")
    assert json.loads(results.read_text()) == before


def test_an_evaluation_on_other_images_leaves_what_the_run_has_left(train, tmp_path, caplog):
    folder = train()
    own = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in ("manifest.json", "log.txt")}
    save_image(next((tmp_path / "data").rglob("image_9.jpg")), (0, 0, 255))
    with caplog.at_level("INFO"):
        call(evaluation.__main__, folder, "--device", "cpu")
    assert "The test images under" in caplog.text and "of the dense accuracy" not in caplog.text
    assert [path.name for path, content in own.items() if path.read_bytes() != content] == []
    for name in ("Results_chiqpm_8_3_FinetunedModel.json", "chiqpm_8_3_Calibration.npz"):
        assert (folder / name) in own and (folder / f"Evaluated_{name}").exists()


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--dataset", "StanfordCars"], 1, "No StanfordCars"),
        (["--dataset", "Birds"], 2, "unknown dataset"),
        (["--n_features", "2", "--n_per_class", "1"], 2, "3 classes cannot all differ"),
    ],
)
def test_mistakes_end_in_one_line_and_an_exit_code(train, tmp_path, capsys, argv, code, message):
    flags = tiny_run(data_root=tmp_path / "data", log_dir=tmp_path / "runs")
    assert exit_code(main, *flags, *argv) == code
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert not (tmp_path / "runs").exists()


def test_imagenet_is_finetuned_from_its_weights_without_dense_training(tmp_path, epochs):
    make_imagenet(tmp_path / "data", train=6, test=4)
    state = build_dense_model("resnet18", 3).state_dict()
    torchvisions = {key.replace("linear.", "fc."): value for key, value in state.items()}
    torch.save(torchvisions, tmp_path / "weights.pth")
    folders = {"data_root": tmp_path / "data", "log_dir": tmp_path / "runs"}
    weights = {"dataset": "ImageNet", "weights": tmp_path / "weights.pth"}
    call(main, *tiny_run(schedule_scale=0.02, **folders, **weights))
    assert epochs and not any(name == "Dense" for name in epochs)
    folder = tmp_path / "runs" / "resnet18" / "ImageNet" / "1"
    assert not (folder / "Trained_DenseModel.pth").exists()
    # The classifier came with the weights, so the dense accuracy is known.
    assert json.loads((folder / "Results_DenseModel.json").read_text())["Accuracy"] is not None
    assert sparse_state(folder)["linear.layer.weight"].shape == (3, 8)


def test_watching_a_training_changes_nothing_in_it(train):
    unwatched, watched = (sparse_state(train("--eval_every", every, runs=f"every_{every}")) for every in (0, 1))
    assert all(torch.equal(unwatched[key], watched[key]) for key in unwatched)


def test_held_out_images_are_measured_and_not_trained_on(train, caplog):
    with caplog.at_level("INFO"):
        folder = train("--validation", "0.3", "--eval_every", "1")
    assert "held-out accuracy" in caplog.text and "test accuracy" not in caplog.text
    assert len(np.load(folder / "DenseFeatures_train.npy")) == 3 * 4  # 6 images of each, 2 held out
    rows = read_metrics(folder / "metrics.csv")
    assert {row["stage"] for row in rows} == {"dense", "chiqpm_8_3"}
    for row in rows:
        terms = [row[name] or 0 for name in LOSS_TERMS]
        assert row["loss"] == pytest.approx(sum(terms), rel=1e-4, abs=1e-4)
        assert row["held_out_accuracy"] is None or 0 <= row["held_out_accuracy"] <= 1
    assert all((row["held_out_accuracy"] is None) == (row["kind"] == "step") for row in rows)
