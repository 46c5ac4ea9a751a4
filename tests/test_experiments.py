"""Tables of runs: which runs they mean, what is skipped, and what happens when one fails."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from command_line import call, exit_code
from fake_datasets import make_cub

import experiments
from configs.errors import RunError, UsageError
from training import forecast

TABLE = """
dataset = "CUB2011"
arch = "resnet18"
weights = "none"
img_size = 32
n_features = 8
n_per_class = 3
schedule_scale = 0.01
batch_size = 8
device = "cpu"
log_dir = "LOGS"
data_root = "DATA"
seed = [1, 2]
[[runs]]
model_type = ["qpm", "sldd"]
set = ["dense.lr=0.01", "finetune.lr=0.001"]
"""


@pytest.fixture
def run(tmp_path):
    """Runs experiments.py on the table, in which some words may be others."""
    file = tmp_path / "table.toml"

    def run(*flags: str, more: str = "", **others: str) -> None:
        text = TABLE + more
        for word, other in {"LOGS": tmp_path / "logs", "DATA": tmp_path / "data", **others}.items():
            text = text.replace(word, str(other))
        file.write_text(text)
        call(experiments, file, *flags)

    return run


@dataclass
class FakeRuns:
    """Stands in for starting processes: remembers commands, fails where told."""

    started: list[list[str]] = field(default_factory=list)
    fails: tuple[str, ...] = ()

    def __call__(self, command, **_):
        self.started.append(command)
        failed = any(word in command for word in self.fails)
        return subprocess.CompletedProcess(command, int(failed), None, "main.py: error: no images\n" if failed else "")


@pytest.fixture
def fake_runs(monkeypatch):
    runs = FakeRuns()
    monkeypatch.setattr(experiments.subprocess, "run", runs)
    return runs


def test_a_table_means_every_combination_and_runs_of_a_folder_follow_one_another(run, capsys):
    run("--print_commands")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2  # a line for each seed, of both models
    for seed, line in zip("12", lines, strict=True):
        first, second = line.split(" && ")
        assert first.startswith("python main.py --dataset CUB2011") and f"--seed {seed}" in first
        assert "--model_type qpm --set dense.lr=0.01 finetune.lr=0.001" in first
        assert "--model_type sldd" in second and f"--seed {seed}" in second


def test_a_list_of_lists_is_a_run_for_each():
    made = experiments.combinations({"seed": 1, "set": [[], ["dense.lr=0.1", "dense.gamma=1"]], "Coverage": [0.8, 0.9]})
    ends = ["--Coverage", "0.8", "0.9"]
    assert [*made] == [["--seed", "1", *ends], ["--seed", "1", "--set", "dense.lr=0.1", "dense.gamma=1", *ends]]


def test_runs_of_several_processes_begin_with_torchrun(run, capsys):
    run("--print_commands", "--processes", "2", more="n_per_class = [2, 3]\n")
    one, other = capsys.readouterr().out.splitlines()
    command = "torchrun --standalone --nproc_per_node 2 main.py"
    assert one.count(command) == other.count(command) == 4


@pytest.mark.parametrize(("stop", "started"), [(False, 4), (True, 2)])
def test_a_failed_run_is_named_and_the_others_go_on_unless_told_to_stop(run, fake_runs, stop, started):
    fake_runs.fails = ("sldd",)
    with pytest.raises(RunError, match=r"runs failed: .*1 sldd_8_3: no images"):
        run("--jobs", "1", *(["--stop"] if stop else []))
    assert len(fake_runs.started) == started


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("n_featurs = 3", "run 1: unknown flag --n_featurs; did you mean --n_features"),
        ("n_features = 'x'", "run 1: argument --n_features: 'x' is not a whole number"),
        ("= 3", "cannot be read"),
        ("n_features = []", "asks for no run"),
        ("[[runs]]\nset = [['dense.lr=1'], ['dense.lr=2']]", "different models under one name"),
    ],
)
def test_a_mistake_in_a_table_is_one_line(run, more, message):
    with pytest.raises(UsageError, match=message):
        run(more=more)


def test_finished_runs_are_skipped_and_changed_ones_are_not(run, tmp_path, capsys, caplog):
    make_cub(tmp_path / "data", train=6, test=4)
    caplog.set_level("INFO")
    run("--jobs", "2")
    assert "4 of 4" in caplog.text
    assert len(list((tmp_path / "logs").rglob("Results_*_FinetunedModel.json"))) == 4
    caplog.clear()
    run("--jobs", "2")
    assert "4 runs, 4 of them finished." in caplog.text
    run("--print_commands", **{"finetune.lr=0.001": "finetune.lr=0.002", '["qpm", "sldd"]': '"qpm"'})
    assert capsys.readouterr().out.count("main.py") == 2  # of each seed


def test_a_rehearsal_measures_like_runs_once_and_counts_a_shared_dense_model_once(run, tmp_path, caplog, monkeypatch):
    make_cub(tmp_path / "data", train=6, test=4)
    measured = []
    monkeypatch.setattr(
        forecast, "measured_pace", lambda _: measured.append(1) or forecast.Pace(1.0, None, 10**6, 8, 0)
    )
    caplog.set_level("INFO")
    with pytest.raises(RunError, match=r"2 of 6 runs failed: .*1 qpm_8_3; "):
        run(
            "--dry_run",
            more=f"[[runs]]\nmodel_type = 'qpm'\ndata_root = '{tmp_path}/none'\nlog_dir = '{tmp_path}/other'",
        )
    assert len(measured) == 1
    assert caplog.text.count("done by an earlier run") == 2 * 2  # dense model and features of the second run of a seed
    assert caplog.text.count("qpm_8_3: error: No CUB2011 under") == 2
    assert caplog.text.count(" and the selection of qsenn and sldd, of unknown length,") == 2 + 1  # each, and in all
    *each, total = (_seconds(taken) for taken in re.findall(r"[Aa]bout ([\d:]+) ", caplog.text))
    assert len(each) == 4 and each[0] > each[1] and total == pytest.approx(sum(each), abs=4)
    assert not (tmp_path / "logs").exists()


def _seconds(shown: str) -> int:
    return sum(int(part) * 60**i for i, part in enumerate(reversed(shown.split(":"))))


def test_a_table_that_is_not_named_is_one_line(capsys):
    assert exit_code(experiments) == 2
    assert "python experiments.py FILE.toml" in capsys.readouterr().err


def test_a_task_of_an_array_job_does_its_line(tmp_path):
    commands = tmp_path / "commands.txt"
    commands.write_text("echo one > a && echo two > b\necho 'three words' > c\n")
    script = Path(__file__).parents[1] / "docs" / "slurm_array.sh"
    for task in "12":
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": task}
        subprocess.run(["bash", script, commands], cwd=tmp_path, env=environment, check=True)
    assert [(tmp_path / name).read_text() for name in "abc"] == ["one\n", "two\n", "three words\n"]
