"""A downloaded folder: what its authors measured stays, and what nobody can see in a model is asked for."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from configs.errors import UsageError
from evaluation.__main__ import main

MODEL = "chiqpm_6_3_FinetunedModel"


@pytest.fixture
def downloaded(small_run, tmp_path, monkeypatch):
    """A folder with a state dict and results; and a function that evaluates it with some flags."""
    logs = Path(small_run[small_run.index("--log_dir") + 1])
    shutil.copy(next(logs.rglob(f"{MODEL}.pth")), tmp_path)
    for name in ("Results_DenseModel", f"Results_{MODEL}"):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"Accuracy": 0.85, "Contrastiveness": "high"})
        )

    def evaluate(*flags):
        monkeypatch.setattr(sys, "argv", ["evaluation", *map(str, flags)])
        main()

    return tmp_path, evaluate


@pytest.mark.parametrize("named", [[], ["--folder"]])
def test_results_lie_beside_those_of_the_authors(downloaded, small_run, named):
    folder, evaluate = downloaded
    evaluate(*named, folder, *small_run)
    assert json.loads((folder / f"Results_{MODEL}.json").read_text())["Accuracy"] == 0.85
    ours = json.loads((folder / f"Evaluated_Results_{MODEL}.json").read_text())
    assert ours["Accuracy"] != 0.85 and "Prediction sets" in ours


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ("--dataset CUB2011", "--img_size, --reduced_strides, --cropGT"),
        ("--dataset ImageFolder", "--img_size, --reduced_strides"),
        ("--dataset CUB2011 --img-size 224 --cropgt False", "--reduced_strides"),
        ("--dataset CUB2011 --img_size=224 --no-reduced-strides", "--cropGT"),
    ],
)
def test_what_a_model_cannot_say_is_asked_for(downloaded, flags, missing):
    folder, evaluate = downloaded
    model = "--arch resnet18 --n_features 6 --n_per_class 3"
    with pytest.raises(UsageError, match=rf"does not record .*; give {missing} as in its training"):
        evaluate(folder, *flags.split(), *model.split())
