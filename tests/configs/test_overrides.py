"""Fields of recipes from the command line: typed, recorded, and refused in one line."""

from dataclasses import replace

import pytest
import torch
from refusals import refused
from state_files import save

from configs.errors import UsageError
from configs.files import read_json
from configs.finished_run import finished_run
from configs.model_card import ModelCard
from configs.model_size import check_classes
from configs.records import recorded_arguments, write_config
from configs.run_folder import RunFolder
from configs.settings import parse_settings


def settings(*overrides, more=()):
    flags = [word for override in overrides for word in ("--set", override)]
    return parse_settings([*flags, *more], "")[0]


def test_values_have_the_type_of_their_field_and_are_not_scaled():
    found = settings(
        "dense.lr=1", "DENSE.Warm-Up = .5", "dense.epochs=7", "finetune.round_epochs=5,5,20",
        "finetune.grounding_epochs=none", "head.relu=no", "dense.schedule=one_cycle",
        "selection.pair_density=0.25", more=("--schedule_scale", "0.1"),
    )  # fmt: skip
    dense, finetuning = found.dense, found.finetuning
    assert repr((dense.lr, dense.warm_up, dense.epochs)) == "(1.0, 0.5, 7)"
    assert (dense.schedule, dense.step_size) == ("one_cycle", 3)
    assert finetuning.round_epochs == (5, 5, 20) and finetuning.grounding_epochs is None
    assert found.head.relu is False and found.selection.pair_density == 0.25
    assert replace(finetuning, round_epochs=(1, 1, 1, 4), grounding_epochs=3) == (
        settings(more=("--schedule_scale", "0.1")).finetuning
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dense.learning_rate=1"], "no recipe has 'dense.learning_rate'; similar names are "),
        (["lr=1"], "similar names are dense.lr, finetune.lr"),
        (["fintune.lr=1"], "similar names are finetune.lr"),
        (["lr"], "'lr' is not RECIPE.FIELD=VALUE, as in dense.lr=0.01"),
        (["dense.lr=fast"], "dense.lr=fast: 'fast' is not a number"),
        (["dense.lr=-1"], "dense.lr=-1: it must be at least 0"),
        (["dense.lr=inf"], "dense.lr=inf: it must be at least 0 and finite"),
        (["dense.epochs=2.5"], "'2.5' is not a whole number"),
        (["dense.dropout=1"], "dense.dropout=1: it must be at least 0 and below 1"),
        (["groups.most=20"], "groups.most=20: it must be at least 1 and below 9"),
        (["dense.schedule=cosine"], "choose one of step, one_cycle"),
        (["finetune.round_epochs=5,0"], "it must be at least 1"),
        (["head.relu=perhaps"], "neither true nor false"),
        (["dense.lr=1", "dense.lr=2"], "--set dense.lr is given twice: 1 and 2"),
        (["finetune.refit=True"], "chiqpm chooses its features once; use qsenn or sldd"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(overrides, message):
    with refused(UsageError, message):
        settings(*overrides)


def test_flags_that_say_the_same_otherwise_are_refused():
    with pytest.raises(UsageError, match=r"--batch_size 9 contradicts --set dense\.batch_size=8"):
        settings("dense.batch_size=8", more=("--batch_size", "9"))
    with pytest.raises(UsageError, match="asks for 9 pairs of 3 classes, which have only 3"):
        check_classes(settings("selection.pair_density=3"), n_classes=3)


def test_a_run_folder_brings_them_and_given_ones_win(tmp_path):
    made = settings("dense.lr=0.02", "finetune.lr=0.003", more=("--seed", "1"))
    run = RunFolder(tmp_path)
    write_config(made, run, torch.device("cpu"), {"classes": []})
    assert read_json(run.file("config.json"))["recipes"]["dense"]["lr"] == 0.02
    model = run.file("chiqpm_50_5_FinetunedModel.pth")
    save({}, model, ModelCard(recorded_arguments(tmp_path), {}, {}))
    again, _ = finished_run(["--folder", str(tmp_path)], "")
    assert again.set == made.set and again.dense == made.dense
    changed, _ = finished_run(["--folder", str(tmp_path), "--set", "dense.lr=0.5"], "")
    assert set(changed.set) == {"dense.lr=0.5", "finetune.lr=0.003"}


@pytest.mark.parametrize(
    ("arch", "override", "outdated"),
    [
        ("local15", "groups.near=0.2", {"dense", "selection"}),
        ("local15", "parts.ridge=0.2", {"selection"}),
        ("resnet18", "groups.near=0.2", set()),
        ("resnet18", "parts.ridge=0.2", set()),
        ("local15", "selection.groups=False", {"selection"}),
    ],
)
def test_what_is_found_among_local_features_is_made_again_when_a_number_of_it_changes(
    tmp_path, arch, override, outdated
):
    def artefacts(*overrides):
        found = settings(*overrides, more=("--dataset", "SyntheticBirds", "--arch", arch))
        run = RunFolder(tmp_path)
        return {
            "dense": run.artefact("dense.pth", found.dense_dependencies()),
            "selection": run.artefact("selection.npz", found.selection_dependencies()),
        }

    for artefact in artefacts().values():
        artefact.write(lambda path: path.write_text("content"))
    name = {"groups": "alternatives", "parts": "parts", "selection": "groups"}[override.partition(".")[0]]
    why = {stage: artefact.why_outdated() for stage, artefact in artefacts(override).items()}
    assert why == {stage: f"changed {name}" if stage in outdated else None for stage in why}
    assert not any(artefact.why_outdated() for artefact in artefacts().values())
