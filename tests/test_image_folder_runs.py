"""Runs on folders of images share a place: none may be taken for another."""

import json
import os
from pathlib import Path

import pytest
import torch
from command_line import call
from fake_datasets import make_image_folder, save_image
from forked_runs import narrow_layout, tiny_run
from refusals import refused
from state_files import published, save

import main
from architectures.backbones import resnet
from architectures.backbones.registry import backbone_of
from architectures.finished_model import load_finished_model
from configs.errors import RunError, UsageError
from configs.finished_run import finished_run
from configs.hardware import Hardware
from configs.model_card import ModelCard
from configs.records import write_config
from configs.run_files import selection_file, sparse_results_file
from configs.run_folder import RunFolder
from configs.runs import is_finished, training_run, with_seed
from configs.settings import parse_settings
from dataset_classes.registry import data_of

MODEL = "chiqpm_8_3_FinetunedModel.pth"
CLASSES = ["robin", "wren"]


def flags_of(tmp_path, data, *more):
    flags = "--dataset ImageFolder --arch resnet18 --n_features 8 --n_per_class 3 --log_dir"
    return [*flags.split(), str(tmp_path / "runs"), "--data_root", str(data), *more]


def settings_of(tmp_path, data, *more):
    return parse_settings(flags_of(tmp_path, data, *more), "")[0]


def found(tmp_path, data):
    return finished_run(flags_of(tmp_path, data), "")[1].path


def leave_run(settings, finished=True) -> RunFolder:
    """A run folder of these settings, as main.py begins and ends it."""
    run = training_run(settings)
    run.path.mkdir(parents=True)
    write_config(settings, run, torch.device("cpu"), {"classes": CLASSES})
    if finished:
        save({}, run.file(MODEL), ModelCard(settings.as_dict(), {"classes": CLASSES}, {}))
    return run


def test_scripts_take_the_newest_run_on_the_same_images(tmp_path, monkeypatch):
    birds = leave_run(settings_of(tmp_path, tmp_path / "birds", "--seed", "1"))
    cars = leave_run(settings_of(tmp_path, tmp_path / "cars", "--seed", "2"))
    os.utime(birds.file(MODEL), (1, 1))  # the other is newer
    assert found(tmp_path, tmp_path / "birds") == birds.path
    assert found(tmp_path, tmp_path / "cars") == cars.path
    (tmp_path / "link").symlink_to(tmp_path / "birds")
    assert found(tmp_path, tmp_path / "link") == birds.path
    monkeypatch.chdir(tmp_path)
    assert found(tmp_path, "birds") == birds.path
    with pytest.raises(RunError, match=r"no finished model .* made from .*planes"):
        found(tmp_path, tmp_path / "planes")


def test_an_unfinished_run_on_other_images_is_not_gone_on_with(tmp_path):
    leave_run(settings_of(tmp_path, tmp_path / "birds", "--seed", "1"), finished=False)
    assert with_seed(settings_of(tmp_path, tmp_path / "birds"), {}).seed == 1
    assert with_seed(settings_of(tmp_path, tmp_path / "cars"), {}).seed != 1


def test_a_seed_left_out_is_that_of_the_named_folder(tmp_path):
    run = leave_run(settings_of(tmp_path, tmp_path / "birds", "--seed", "5"))
    moved = run.path.rename(tmp_path / "moved")  # finished: another seed would replace its models
    assert with_seed(settings_of(tmp_path, tmp_path / "birds", "--folder", str(moved)), {}).seed == 5


def test_a_seed_left_out_does_not_land_on_a_model_of_other_images(tmp_path):
    birds = tmp_path / "birds"
    run = leave_run(settings_of(tmp_path, birds, "--seed", "1"), finished=False)
    ours, others = {"train": "a", "test": "b"}, {"train": "a", "test": "c"}
    save({}, run.file("Trained_DenseModel.pth"), ModelCard({}, {}, ours))
    assert with_seed(settings_of(tmp_path, birds), ours).seed == 1
    assert with_seed(settings_of(tmp_path, birds), others).seed != 1


def test_a_finished_model_of_other_images_is_overwritten_on_request_only(tmp_path, monkeypatch):
    monkeypatch.setitem(resnet.LAYOUTS, "resnet18", narrow_layout())

    def train(name, *more):
        places = {"data_root": tmp_path / name, "log_dir": tmp_path / "runs"}
        call(main, *tiny_run(dataset="ImageFolder", schedule_scale=0.02, **places), *more)
        folder = tmp_path / "runs" / "resnet18" / "ImageFolder" / "1"
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert config["arguments"]["data_root"] == str(tmp_path / name)
        assert config["data"]["classes"] == CLASSES
        return torch.load(folder / MODEL, weights_only=True)["conv1.weight"]

    for name in ("one", "two"):
        make_image_folder(tmp_path / name, train=8, test=3)
    first = train("one")
    assert torch.equal(train("two"), first)  # copies: nothing to do
    for i in range(8):  # the same names, other pictures
        save_image(tmp_path / "two" / "train" / "wren" / f"{i}.jpg", (0, 90, 255), size=(40 + i, 30))
    folder = tmp_path / "runs" / "resnet18" / "ImageFolder" / "1"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"other images .*; choose another --seed or --log_dir"):
        train("two")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not torch.equal(train("two", "--overwrite"), first)


def test_a_script_refuses_a_run_on_other_classes(tmp_path):
    settings = settings_of(tmp_path, tmp_path / "birds", "--seed", "1")
    run = leave_run(settings, finished=False)
    state = published(weight=torch.eye(2, 4) + torch.eye(2, 4).roll(1, 1))[1]
    save(state, run.file(MODEL), ModelCard(settings.as_dict(), {"classes": CLASSES}, {}))
    settings = settings_of(tmp_path, tmp_path / "cars", "--seed", "1")
    hardware = Hardware.choose("cpu", 0)
    load_finished_model(settings, run, CLASSES, hardware)
    with pytest.raises(RunError, match="trained on other classes"):
        load_finished_model(settings, run, ["audi", "bmw"], hardware)


def test_a_copy_of_a_model_under_another_name_is_passed_over(tmp_path):
    run = leave_run(settings_of(tmp_path, tmp_path / "birds", "--seed", "1"))
    run.file("chiqpm_8_3_old_FinetunedModel.pth").touch()
    flags = flags_of(tmp_path, tmp_path / "birds")
    flags = [flag for flag in flags if flag not in ("--n_features", "8", "--n_per_class", "3")]
    assert finished_run(flags, "")[0].model_name == "chiqpm_8_3"


def test_a_run_on_other_images_does_not_count_as_finished(tmp_path):
    settings = settings_of(tmp_path, tmp_path / "birds", "--seed", "1")
    run = leave_run(settings)
    made = {
        selection_file(settings): settings.selection_dependencies(),
        MODEL: settings.sparse_dependencies(),
        sparse_results_file(settings): {"seed": 1},
    }
    for file, depends_on in made.items():
        run.enter(file, {"settings": depends_on, "sha256": ""})
    assert is_finished(settings)
    assert not is_finished(settings_of(tmp_path, tmp_path / "cars", "--seed", "1"))


def test_a_share_that_holds_out_no_image_is_refused(tmp_path):
    make_image_folder(tmp_path)
    settings = settings_of(tmp_path, tmp_path, "--img_size", "32", "--validation", "0.01")
    with refused(UsageError, "--validation 0.01 holds out no image"):
        data_of(settings, backbone_of(settings))


@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("held_out", [False, True])
def test_a_damaged_image_that_is_not_trained_on_ends_a_run_before_its_training(tmp_path, caplog, held_out):
    caplog.set_level("INFO")
    root = make_image_folder(tmp_path / "birds", train=6, test=4)
    more = ("--validation", "0.4") if held_out else ()
    data = data_of(settings_of(tmp_path, root, *more), backbone_of(settings_of(tmp_path, root)))
    damaged = Path((data.held_out if held_out else data.test).paths[-1])
    damaged.write_bytes(damaged.read_bytes()[:-60])
    flags = tiny_run(dataset="ImageFolder", data_root=root, log_dir=tmp_path / "runs", n_per_class=2)
    with refused(RunError, str(damaged), "truncated"):
        call(main, *flags, *more)
    assert "epoch" not in caplog.text
