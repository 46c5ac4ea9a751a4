"""What a command line and the card of a model say together about a finished run."""

import os
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from refusals import refused
from state_files import save

from configs.errors import RunError, UsageError
from configs.finished_run import RESTORED, finished_run, shared_flags, training_command
from configs.model_card import ModelCard
from configs.model_size import with_model_size
from configs.records import write_config
from configs.run_files import selection_file, sparse_model_file, sparse_results_file
from configs.run_folder import RunFolder
from configs.runs import INCIDENTAL, is_finished, training_run
from configs.settings import Settings, parse_settings

# No setting has its default, and no number is round.
ODD = Settings(
    dataset="TravelingBirds",
    data_root="/odd data",
    cropGT=False,
    img_size=97,
    arch="resnet34",
    model_type="qpm",
    weights="/weights of mine.pth",
    freeze_backbone=True,
    reduced_strides=False,
    n_features=31,
    n_per_class=7,
    seed=3,
    do_dense=False,
    batch_size=12,
    balanced=True,
    schedule_scale=0.1 + 0.2,
    validation=0.25,
    eval_every=7,
    set=("dense.lr=0.0123", "finetune.round_epochs=3,7"),
    solver="search",
    selection_seconds=1e-7 / 3,
    redundancy_threshold=1 / 3,
    pairs="any",
    certificate=2 / 3,
    glm_solver="glm_saga",
    coverage=(0.85, 1 / 1.1),
    device="cuda:7",
    workers=5,
)
MACHINE = {"log_dir", "folder", "device", "workers", "precision", "track"}


def write_model(path, settings: dict) -> None:
    save({}, path, ModelCard({name: settings[name] for name in RESTORED if name in settings}, {}, {}))


@pytest.fixture
def leave(tmp_path):
    """Leaves a run folder with config.json and a finished model, of which only the card is read here."""

    def leave(settings, folder=None) -> RunFolder:
        run = RunFolder(folder or tmp_path / "my run")
        run.path.mkdir(parents=True, exist_ok=True)
        write_config(settings, run, torch.device("cpu"), {"classes": []})
        write_model(run.file(sparse_model_file(settings)), settings.as_dict())
        return run

    return leave


def find(*argv):
    return finished_run([str(word) for word in argv], "")


def test_the_folder_alone_brings_every_setting_exactly(leave):
    defaults = Settings()
    unusual = {f.name for f in fields(Settings) if getattr(ODD, f.name) != getattr(defaults, f.name)}
    assert unusual | MACHINE == {f.name for f in fields(Settings)}
    run = leave(ODD)
    settings, found = find("--folder", run.path)
    machine = {name: getattr(defaults, name) for name in ("device", "workers")}
    place = {"folder": str(run.path), "log_dir": settings.log_dir}
    assert settings == replace(ODD, **machine, **place) and found.path == run.path
    assert repr(settings) == repr(replace(ODD, **machine, **place))  # the types too


def test_what_was_none_stays_none(leave):
    run = leave(parse_settings(["--dataset", "StanfordCars", "--seed", "4"], "")[0])
    settings, _ = find("--folder", run.path)
    assert settings.batch_size is None and settings.redundancy_threshold is None


def test_given_flags_win_where_the_model_stays_the_same(leave):
    run = leave(ODD)
    leave(replace(ODD, model_type="sldd", n_features=20))
    given = "--data_root /moved --coverage 0.8 --device cpu --workers 0 --arch resnet34 --model-type SLDD"
    settings, _ = find(*given.split(), "--n_features", 20, "--folder", run.path)
    changes = {"data_root": "/moved", "coverage": (0.8,), "device": "cpu", "workers": 0}
    model = {"model_type": "sldd", "n_features": 20, "n_per_class": 7}
    kept = {"folder": settings.folder, "log_dir": settings.log_dir}
    assert settings == replace(ODD, **changes, **model, **kept)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--arch resnet18", "made with arch resnet34, not resnet18"),
        ("--dataset CUB2011", "made with dataset TravelingBirds, not CUB2011"),
        ("--img_size 224", "made with img_size 97, not 224"),
        ("--cropGT", "made with crop False, not True"),
        ("--reduced_strides yes", "made with reduced_strides False, not True"),
        ("--seed 4", "made with seed 3, not 4"),
        ("--weights imagenet", "made with weights /weights of mine.pth, not imagenet"),
        ("--do_dense", "made with do_dense False, not True"),
    ],
)
def test_flags_that_contradict_the_model_are_refused(leave, given, message):
    with refused(UsageError, message):
        find("--folder", leave(ODD).path, *given.split())


def test_a_model_under_the_name_of_another_type_is_refused(leave):
    path = leave(ODD).file("chiqpm_31_7_FinetunedModel.pth")
    write_model(path, ODD.as_dict())
    with refused(UsageError, "made with model_type qpm, not chiqpm"):
        find("--folder", path.parent, "--model_type", "chiqpm")


def test_every_model_of_a_folder_brings_its_own_settings(leave):
    run = leave(ODD)
    leave(replace(ODD, model_type="sldd", img_size=128))
    assert find("--folder", run.path, "--model_type", "qpm")[0].img_size == 97
    assert find("--folder", run.path)[0].img_size == 128


def test_cropping_contradicts_nothing_where_there_are_no_boxes(leave):
    run = leave(parse_settings(["--dataset", "StanfordCars", "--seed", "4"], "")[0])
    assert find("--folder", run.path, "--cropGT", "False")[0].crop is False


def test_a_model_that_the_folder_lacks_is_answered_with_those_it_holds(leave):
    run = leave(ODD)
    leave(replace(ODD, model_type="sldd"))
    assert find("--folder", run.path)[0].model_type == "sldd"  # of the last call of main.py
    assert find("--folder", run.path, "--model_type", "qpm")[0].model_type == "qpm"
    with pytest.raises(
        RunError, match=r"no finished model qsenn_31_7.* holds qpm_31_7, sldd_31_7; choose with --model_type"
    ):
        find("--folder", run.path, "--model_type", "qsenn")
    with pytest.raises(RunError, match=f"is not a run folder; name one, such as {run.path}"):
        find("--folder", run.path.parent)


def test_settings_of_other_versions_are_understood(leave):
    run, settings = leave(ODD), {**ODD.as_dict(), "of the future": {"a": [1]}}
    del settings["certificate"]
    write_model(run.file(sparse_model_file(ODD)), settings)
    assert find("--folder", run.path)[0].certificate == Settings().certificate


@pytest.mark.parametrize("wrong", [{"dataset": "Birds"}, {"n_features": [50, 50]}, {"img_size": 6.4}])
def test_a_card_that_cannot_be_used_is_one_clear_line(leave, wrong):
    run = leave(ODD)
    write_model(run.file(sparse_model_file(ODD)), {**ODD.as_dict(), **wrong})
    with refused(RunError, match=r"qpm_31_7_FinetunedModel\.pth records settings .* cannot use: .*; train it again"):
        find("--folder", run.path)


@pytest.mark.parametrize("content", ["", '{"arguments": {"arch": "resn', "[1]", "{}", '{"arguments": "none"}'])
def test_a_damaged_config_hides_no_model(leave, content):
    run = leave(ODD)
    run.file("config.json").write_text(content)
    assert find("--folder", run.path)[0].img_size == 97


def test_without_a_folder_the_newest_model_of_the_asked_type_is_taken(leave, tmp_path):
    asked = ["--dataset", "StanfordCars", "--log_dir", str(tmp_path), "--n_features", "20"]
    runs = {}
    for seed in (1, 2):
        settings, *_ = parse_settings([*asked, "--seed", str(seed), "--img_size", "96"], "")
        runs[seed] = leave(settings, training_run(settings).path)
        # The last call of main.py trained another model.
        leave(replace(settings, model_type="qpm", n_features=50), runs[seed].path)
    os.utime(runs[2].file("chiqpm_20_5_FinetunedModel.pth"), (1, 1))
    settings, found = find(*asked)
    assert (found.path, settings.seed, settings.img_size) == (runs[1].path, 1, 96)
    assert settings.model_name == "chiqpm_20_5" and settings.folder == str(runs[1].path)
    assert find(*asked, "--seed", "2")[1].path == runs[2].path
    with pytest.raises(RunError, match=r"no finished model chiqpm_20_5.* train it with: python main"):
        find(*asked, "--seed", "3")
    with pytest.raises(RunError, match=r"which holds chiqpm_20_5, qpm_50_5; choose with"):
        find(*asked, "--n_features", "30")


def test_a_size_that_the_number_of_classes_decides_need_not_be_named(leave, tmp_path):
    asked = ["--dataset", "ImageFolder", "--log_dir", str(tmp_path), "--data_root", "/birds"]
    (undecided,) = parse_settings([*asked, "--seed", "1"], "")
    decided = with_model_size(undecided, n_classes=10, available=512)
    run = leave(decided, training_run(decided).path)
    leave(replace(decided, model_type="qpm", n_features=7), run.path)  # the last call
    assert find(*asked)[0].model_name == "chiqpm_20_3"
    made_from = {
        selection_file(decided): decided.selection_dependencies(),
        sparse_model_file(decided): decided.sparse_dependencies(),
        sparse_results_file(decided): {"seed": 1},
    }
    for file, depends_on in made_from.items():
        run.enter(file, {"settings": depends_on, "sha256": ""})
    for n_classes, finished in ((10, True), (9, False)):
        write_config(decided, run, torch.device("cpu"), {"classes": ["wren"] * n_classes})
        assert is_finished(undecided) == finished


def test_the_command_of_a_model_has_the_settings_that_it_was_made_with_and_no_usual_ones(leave):
    def command(settings):
        run = leave(settings)
        write_config(settings, run, torch.device("cpu"), {"classes": ["wren"] * 50})
        return training_command(run.file(sparse_model_file(settings)))

    (again,) = parse_settings(shlex.split(command(ODD))[2:], "")
    differing = {name for name, value in again.as_dict().items() if value != ODD.as_dict()[name]}
    assert differing <= set(INCIDENTAL) - {"seed"}
    (usual,) = parse_settings(["--seed", "3", "--n_features", "50", "--n_per_class", "5"], "")
    assert command(usual) == "python main.py --dataset CUB2011 --model_type chiqpm --seed 3"
    assert training_command(Path("downloaded_50_5_FinetunedModel.pth")) is None


def test_next_commands_find_the_same_model_and_say_no_more_than_needed(leave, tmp_path):
    leave(replace(ODD, model_type="sldd", n_features=20))
    run = leave(ODD)
    downloaded = RunFolder(tmp_path / "downloaded")
    unseen = ["--model_type", "qsenn", "--arch", "resnet18", "--cropGT", "no"]
    unseen += ["--img_size", "224", "--no-reduced_strides"]
    downloaded.path.mkdir()
    downloaded.file("qsenn_50_5_FinetunedModel.pth").touch()
    for folder, more, expected in (
        (run, [], ""),
        (run, ["--model_type", "sldd", "--n_features", "20"], " --model_type sldd --n_features 20"),
        (run, ["--data_root", "/a b", "--coverage", "0.8", "0.9"], None),
        (downloaded, unseen, None),
    ):
        settings, _ = find("--folder", folder.path, *more)
        flags = shared_flags(settings, folder)
        assert find(*shlex.split(flags))[0] == settings
        if expected is not None:
            assert flags == f"--folder {shlex.quote(str(run.path))}{expected}"


def test_next_commands_say_nothing_of_how_an_unchanged_model_was_made(leave):
    run = leave(ODD)  # then a call with another limit chose and trained the same
    assert shared_flags(replace(ODD, certificate=20.0, eval_every=0), run) == f"--folder {shlex.quote(str(run.path))}"
