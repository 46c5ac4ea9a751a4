"""What breaks a run ends in one line and exit code 1, or is made again; the next run ends as one left alone."""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager

import pytest
import torch

from architectures.checkpoints import load_tensors, save_tensors


def created(whole_run) -> set[str]:
    """The events after which a file is written, once per file; the manifest once only."""
    events = [event for event in whole_run.events if event.startswith("created")]
    return set({event.split()[1]: event for event in events}.values())


def assert_one_line(ended, *parts: str) -> None:
    assert ended.code == 1, (ended.code, ended.errors)
    assert ended.errors.startswith("main.py: error: ") and "\n" not in ended.errors, ended.errors
    assert all(part in ended.errors for part in parts), ended.errors


@contextmanager
def mounted(folder, *arguments: str):
    """Something mounted at a folder; skips the test where that is not allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", *arguments, str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder):
    """A folder that cannot be written to, not even by root."""
    if os.geteuid():
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
    else:
        with mounted(folder, "--bind", str(folder)):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
            yield


def test_every_file_that_cannot_be_written_is_one_line(launcher, whole_run):
    left = created(whole_run)
    while (ended := launcher.run("limited", do="limit files", at=left)).code != 0:
        assert_one_line(ended, "cannot write", str(launcher.folder / "limited"), "File too large")
        left.remove(next(event for event in ended.events if event in left))
        assert not list(launcher.run_folder("limited").rglob(".writing-*"))
    assert not left
    assert launcher.results("limited") == whole_run.results


def test_a_log_that_cannot_be_written_is_one_line(launcher, whole_run):
    ended = launcher.run("limited_log", do="limit files", at=["step 2 after nothing"])
    assert_one_line(ended, "cannot write", "log.txt: File too large")


def test_a_full_disk_is_one_line(launcher, whole_run, tmp_path):
    left = created(whole_run)
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        while (ended := launcher.run(tmp_path, do="fill disk", at=left)).code != 0:
            assert_one_line(ended, "cannot write", "No space left on device")
            (tmp_path / "filler").unlink()
            left.remove(next(event for event in ended.events if event in left))
        assert not left
        assert launcher.results(tmp_path) == whole_run.results


def test_a_read_only_folder_is_one_line(launcher, whole_run, tmp_path):
    with read_only(tmp_path):
        for dry in ([], ["--dry_run"]):
            assert_one_line(launcher.run(tmp_path, *dry), "cannot write", str(tmp_path))
    shutil.copytree(launcher.folder / "whole", tmp_path, dirs_exist_ok=True)
    with read_only(tmp_path):
        assert_one_line(launcher.run(tmp_path), "cannot write", str(tmp_path))


def test_a_folder_that_becomes_read_only_is_one_line(launcher, whole_run, tmp_path):
    process = launcher.start(tmp_path, do="stop", at=["step 1 after nothing"])
    assert launcher.wait(process).code is None
    folder = launcher.run_folder(tmp_path)
    with read_only(folder):
        os.kill(process, signal.SIGCONT)
        assert_one_line(launcher.wait(process), "cannot write", "Trained_DenseModel.partial")
    assert launcher.run(tmp_path).code == 0
    assert launcher.results(tmp_path) == whole_run.results


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_unharmed(launcher, whole_run, tmp_path):
    first = launcher.start(tmp_path, do="stop", at=["created Trained_DenseModel.partial"])
    assert launcher.wait(first).code is None
    assert_one_line(launcher.run(tmp_path), "another run is working in", str(tmp_path))
    os.kill(first, signal.SIGCONT)
    assert launcher.wait(first).code == 0
    assert launcher.results(tmp_path) == whole_run.results


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """One bit is another, in the middle of a file."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


FINISHED = (
    "Trained_DenseModel.pth", "Results_DenseModel.json", "DenseFeatures_train.npy", "DenseFeatures_train.npz",
    "chiqpm_8_3_Selection.npz", "chiqpm_8_3_FinetunedModel.pth", "chiqpm_8_3_Features_train.npz",
    "chiqpm_8_3_Features_test.npz", "chiqpm_8_3_Calibration.npz", "Results_chiqpm_8_3_FinetunedModel.json",
)  # fmt: skip


@pytest.mark.parametrize("name", FINISHED)
def test_a_damaged_file_is_made_again(launcher, whole_run, tmp_path, name):
    shutil.copytree(launcher.folder / "whole", tmp_path, dirs_exist_ok=True)
    file = launcher.run_folder(tmp_path) / name
    file.write_bytes(flip(file.read_bytes()))
    ended = launcher.run(tmp_path)
    assert ended.code == 0
    again = [line.split()[0] for line in ended.output.splitlines() if "is made again" in line]
    assert again == [name]
    assert launcher.results(tmp_path) == whole_run.results


@pytest.mark.parametrize("damage", [cut, flip])
def test_where_the_manifest_is_damaged_all_is_made_again(launcher, whole_run, tmp_path, damage):
    assert set(whole_run.results["manifest.json"]) == set(FINISHED)
    shutil.copytree(launcher.folder / "whole", tmp_path, dirs_exist_ok=True)
    file = launcher.run_folder(tmp_path) / "manifest.json"
    file.write_bytes(damage(file.read_bytes()))
    ended = launcher.run(tmp_path)
    assert ended.code == 0 and "is made again" in ended.output
    assert launcher.results(tmp_path) == whole_run.results


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_checkpoint_is_noticed(launcher, whole_run, tmp_path, damage):
    ended = launcher.run(tmp_path, do="kill", at=["step 1 after Trained_DenseModel.partial"])
    assert ended.code == -signal.SIGKILL
    file = launcher.run_folder(tmp_path) / "Trained_DenseModel.partial"
    file.write_bytes(damage(file.read_bytes()))
    ended = launcher.run(tmp_path)
    assert ended.code == 0 and "Trained_DenseModel.partial cannot be read" in ended.output
    assert launcher.results(tmp_path) == whole_run.results


def test_no_flipped_bit_in_a_checkpoint_goes_unnoticed(tmp_path):
    path, state = tmp_path / "a.partial", {"model": torch.arange(5.0), "epoch": 3}
    save_tensors(state, path)
    content = path.read_bytes()
    noticed = 0
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        try:
            found = load_tensors(path)
        except Exception:
            noticed += 1
        else:  # a bit that does not matter
            assert torch.equal(found["model"], state["model"]) and found["epoch"] == 3
    assert noticed
