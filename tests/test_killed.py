"""Killed anywhere, nothing is lost: the same command goes on, and its results are those of a run left alone."""

import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

QSENN = ("--model_type", "qsenn", "--n_per_class", "1")


def kill_again_and_again(launcher, runs, events: Counter, *flags, do="kill") -> list[str]:
    """Start a run again until it ends; each process is killed at the first event that is left, as often as counted.

    The events of all processes.
    """
    left, happened = +events, []
    while (ended := launcher.run(runs, *flags, do=do, at=left)).code != 0:
        happened += ended.events
        assert ended.code in (-signal.SIGKILL, -signal.SIGXFSZ), ended.errors
        left[next(event for event in ended.events if left[event])] -= 1
        left = +left
    # What is logged after a stage has finished, is not said again.
    assert all(event.startswith("log ") for event in left), left
    return happened + ended.events


def between_epochs(event: str) -> bool:
    return event.startswith("replaced") and event.endswith(".partial")


def test_a_run_killed_at_every_event_ends_as_one_left_alone(launcher, whole_run):
    events = Counter({event: 1 for event in whole_run.events if "written manifest" not in event})
    events |= Counter(filter(between_epochs, whole_run.events))
    assert {"step 2 after nothing", "written Trained_DenseModel.partial"} < set(events)
    assert events["replaced Trained_DenseModel.partial"] > 1
    assert events["replaced chiqpm_8_3_FinetunedModel.partial"] == 4  # an epoch in every round
    kill_again_and_again(launcher, "killed", events)
    assert launcher.results("killed") == whole_run.results


def test_a_run_killed_in_the_middle_of_a_file_ends_as_one_left_alone(launcher, whole_run):
    created = [event for event in reversed(whole_run.events) if event.startswith("created")]
    events = Counter({Path(event.split()[1]).suffix: event for event in created}.values())
    assert len(events) == 7  # the first of every kind of file
    kill_again_and_again(launcher, "cut", events, do="kill while writing")
    assert launcher.results("cut") == whole_run.results


def test_epochs_and_refits_of_q_senn_are_gone_on_with(launcher, whole_run):
    for runs in ("qsenn", "qsenn_killed"):
        shutil.copytree(launcher.run_folder("whole"), launcher.run_folder(runs))
    whole = launcher.run("qsenn", *QSENN)
    refit = "forward after qsenn_8_1_FinetunedModel.partial"
    assert whole.code == 0 and whole.events.count(refit) == 3
    epochs = list(filter(between_epochs, whole.events))
    happened = kill_again_and_again(launcher, "qsenn_killed", Counter([refit, *epochs]), *QSENN)
    assert list(filter(between_epochs, happened)) == epochs  # none twice
    assert launcher.results("qsenn_killed") == launcher.results("qsenn")


@pytest.mark.parametrize("event", ["step 2 after nothing", "created Trained_DenseModel.partial"])
def test_ctrl_c_is_one_line_and_its_exit_code(launcher, event, tmp_path):
    ended = launcher.run(tmp_path, do="interrupt", at=[event])
    assert ended.code == 130
    assert ended.errors == "Interrupted; the same command does what is left."
