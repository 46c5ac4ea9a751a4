"""Files of a run are reused only while they are valid, and are never left half-written."""

import csv
import errno
import io

import pytest

from configs.errors import RunError
from configs.run_folder import RunFolder, csv_text, read_json, write_atomically, write_json


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path)


def write_text(text):
    return lambda path: path.write_text(text)


def test_a_finished_file_is_current_for_its_settings_only(run, caplog):
    run.artefact("a.txt", {"lr": 0.1, "rounds": (1, 2)}).write(write_text("result"))
    assert run.artefact("a.txt", {"lr": 0.1, "rounds": (1, 2)}).is_current()
    with caplog.at_level("INFO"):
        assert not run.artefact("a.txt", {"lr": 0.2, "rounds": (1, 2)}).is_current()
    assert "changed lr" in caplog.text and "rounds" not in caplog.text
    assert not run.artefact("b.txt", {"lr": 0.1}).is_current()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full_disk(temporary):
        temporary.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match=r"cannot write .*a\.txt: No space left"):
        write_atomically(path, full_disk)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_interrupted_rewrite_does_not_leave_the_old_entry(run):
    artefact = run.artefact("a.txt", {"lr": 0.1})
    artefact.write(write_text("result"))

    def killed(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.artefact("a.txt", {"lr": 0.2}).write(killed)
    assert "a.txt" not in run.manifest()


def test_a_file_is_not_entered_while_another_run_writes(run):
    with RunFolder(run.path).locked(), pytest.raises(RunError, match="another run is working in"):
        run.artefact("a.txt", {}).write(write_text("result"))
    assert run.manifest() == {} and not run.file("a.txt").exists()
    with run.locked():  # free again
        run.artefact("a.txt", {}).write(write_text("result"))
        with pytest.raises(RunError, match="another run is working in"):
            RunFolder(run.path).locked().__enter__()
    assert [*run.manifest()] == ["a.txt"]


def test_json_is_written_readably(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Grünfink"})
    assert "Grünfink" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_json_that_an_editor_saved_with_a_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_any_name_comes_back_from_a_table():
    rows = [["a\rb", "a\nb", 'say "a", b', "=1", "\r\n"], ["", "x", "y", "z", "\u2028"]]
    assert list(csv.reader(io.StringIO(csv_text(rows), newline=""))) == rows
