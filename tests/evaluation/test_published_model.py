"""A model in the form in which the authors publish theirs, from its folder to its results."""

import json

import pytest
from command_line import call
from fake_datasets import make_cub
from state_files import published, save

import evaluation.__main__
from configs.errors import UsageError
from configs.files import read_json

THEIRS = {"Accuracy": 0.855, "NFfeatures": 4, "PerClass": 2.0, "Contrastiveness": "high"}


@pytest.fixture
def evaluate(tmp_path):
    """Evaluates a downloaded model of a type, with some flags, in a folder of that name."""

    def evaluate(model_type, *flags):
        folder = tmp_path / model_type
        folder.mkdir(exist_ok=True)
        save(published()[1], folder / f"{model_type}_4_2_FinetunedModel.pth")
        (folder / f"Results_{model_type}_4_2_FinetunedModel.json").write_text(json.dumps(THEIRS))
        named = ["--folder", folder] if model_type == "qpm" else [folder]
        size = "--arch resnet18 --n_features 4 --n_per_class 2 --device cpu --workers 0"
        call(evaluation.__main__, *named, "--model_type", model_type, *size.split(), *flags)

    return evaluate


@pytest.mark.parametrize("model_type", ["chiqpm", "qpm"])
def test_results_lie_beside_those_of_the_authors(evaluate, tmp_path, model_type):
    data = make_cub(tmp_path / "data", test=6)
    flags = "--dataset CUB2011 --img_size 32 --reduced_strides True --cropGT True --data_root"
    evaluate(model_type, *flags.split(), data)
    name = f"Results_{model_type}_4_2_FinetunedModel.json"
    ours = read_json(tmp_path / model_type / f"Evaluated_{name}")
    assert json.loads((tmp_path / model_type / name).read_text()) == THEIRS
    assert ours.keys() > THEIRS.keys() and ours["NFfeatures"] == 4
    assert ours["Accuracy"] != 0.855 and 0 < ours["CHiQPM"]["0.9"]["Average_size"] <= 3


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ("--dataset CUB2011", "--img_size, --reduced_strides, --cropGT"),
        ("--dataset ImageFolder", "--img_size, --reduced_strides"),
        ("--dataset CUB2011 --img-size 224 --cropgt False", "--reduced_strides"),
        ("--dataset CUB2011 --img_size=224 --no-reduced-strides", "--cropGT"),
    ],
)
def test_what_a_model_cannot_say_is_asked_for(evaluate, flags, missing):
    with pytest.raises(UsageError, match=rf"does not record .*; give {missing} as in its training"):
        evaluate("chiqpm", *flags.split())
