"""A model in the form in which the authors publish theirs, from its folder to its results."""

import json

import pytest
from fake_datasets import make_cub
from state_files import published, save

from configs.errors import UsageError
from configs.run_folder import read_json
from evaluation.__main__ import main

THEIRS = {"Accuracy": 0.855, "NFfeatures": 4, "PerClass": 2.0}


@pytest.mark.parametrize("model_type", ["chiqpm", "qpm"])
def test_a_downloaded_folder_is_evaluated_beside_its_authors_results(
    tmp_path, monkeypatch, model_type
):
    data, folder = make_cub(tmp_path / "data", test=6), tmp_path / "downloaded"
    folder.mkdir()
    save(published()[1], folder / f"{model_type}_4_2_FinetunedModel.pth")
    name = f"Results_{model_type}_4_2_FinetunedModel.json"
    (folder / name).write_text(json.dumps(THEIRS))
    flags = [
        "--folder", folder, "--dataset", "CUB2011", "--data_root", data, "--arch", "resnet18",
        "--model_type", model_type, "--n_features", 4, "--n_per_class", 2, "--device", "cpu",
        "--workers", 0,
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["evaluation", *map(str, flags)])
    with pytest.raises(UsageError, match="--img_size"):  # nobody can see it in the file
        main()
    more = ["--img_size", "32", "--reduced_strides", "True", "--cropGT", "True"]
    monkeypatch.setattr("sys.argv", ["evaluation", *map(str, flags), *more])
    main()
    ours = read_json(folder / f"Evaluated_{name}")
    assert json.loads((folder / name).read_text()) == THEIRS
    assert ours.keys() > THEIRS.keys() and ours["NFfeatures"] == 4
    assert 0 < ours["CHiQPM"]["0.9"]["Average_size"] <= 3
