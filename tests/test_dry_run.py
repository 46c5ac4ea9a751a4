"""`main.py --dry_run`: it says what the same command without it does, and changes nothing."""

import re
import shutil

import pytest
from command_line import call
from fake_datasets import make_cub
from forked_runs import tiny_run

import main
from architectures.backbones import weights
from configs.errors import RunError, UsageError

pytestmark = pytest.mark.usefixtures("narrow_networks")


@pytest.fixture
def run(tmp_path, caplog):
    """Calls main.py; returns what it said."""
    make_cub(tmp_path / "data", train=6, test=4)
    caplog.set_level("INFO")

    def run(*more: str) -> str:
        caplog.clear()
        folders = {"data_root": tmp_path / "data", "log_dir": tmp_path / "runs"}
        call(main, *tiny_run(schedule_scale=0.01, **folders), *more)
        return caplog.text

    return run


def stages(said: str) -> dict[str, str]:
    """Stage -> what is said of it."""
    return dict(re.findall(r"^  (\w+) +(?:[\d:]+|-) +(?:\d+ MB|-)  (.+)$", said, re.M))


def contents(folder):
    # log.txt is open in this process.
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "log.txt"]
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_a_dry_run_names_what_would_be_done_and_changes_nothing(run, tmp_path):
    said = run("--dry_run", "--batch_size", "64")  # one step is an epoch
    assert not (tmp_path / "runs").exists()
    assert stages(said)["dense"] == "Trained_DenseModel.pth: it is not there"
    assert {*stages(said).values()} == {stages(said)["dense"], "depends on dense"}
    assert "Nothing was changed." in said and "images/s" in said
    run()
    before = contents(tmp_path / "runs")
    assert "nothing would be done" in run("--dry_run")
    changed = stages(run("--dry_run", "--set", "finetune.lr=0.01"))
    assert changed["selection"] == "reused"
    assert changed["finetune"] == "chiqpm_8_3_FinetunedModel.pth: changed finetuning"
    assert changed["evaluation"] == "depends on finetune"
    assert contents(tmp_path / "runs") == before
    next((tmp_path / "runs").rglob("Results_DenseModel.json")).unlink()
    assert stages(run("--dry_run")) == {
        **dict.fromkeys(("dense", "features", "selection", "finetune", "calibration"), "reused"),
        "evaluation": "Results_DenseModel.json: it is not there",
    }


def test_a_dry_run_says_the_error_that_the_run_would(run, tmp_path, monkeypatch):
    def no_network(url, timeout):
        raise OSError("no network")

    def refused(kind, *more):
        messages = []
        for dry in ("--dry_run", "--dry_run=False"):
            with pytest.raises(kind) as error:
                run(dry, *more)
            messages.append(str(error.value))
        assert messages[0] == messages[1]
        return messages[0]

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(weights, "urlopen", no_network)
    monkeypatch.setattr("torch.hub.urlopen", lambda request: no_network(request, None))
    assert "missing.pth" in refused(RunError, "--weights", str(tmp_path / "missing.pth"))
    assert "could not be downloaded (no network)" in refused(RunError, "--weights", "imagenet")
    assert not (tmp_path / "runs").exists()
    run()
    first, *_, last = sorted((tmp_path / "data").rglob("*.jpg"))
    first.write_bytes(last.read_bytes())
    assert "a finished model of other images" in refused(UsageError)
    manifest = next((tmp_path / "runs").rglob("manifest.json"))
    shutil.rmtree(manifest.parent)
    manifest.mkdir(parents=True)
    assert "manifest.json is not a file" in refused(RunError)
