"""Files keep their rights, links and owners, come back as they were written, and are never left half-written."""

import csv
import errno
import io
import os
import stat
from pathlib import Path

import pytest

from configs.errors import RunError
from configs.files import csv_text, read_json, write_atomically, write_json
from configs.run_folder import RunFolder


def left(path: Path, text: str = "new") -> int:
    """The rights of a file after it was written."""
    write_atomically(path, lambda temporary: temporary.write_text(text))
    assert path.read_text() == text
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """Sets the umask for a test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "rights"), [(0o077, 0o600), (0o002, 0o664), (0o022, 0o644)])
def test_new_files_have_the_rights_that_the_umask_leaves(tmp_path, umask, mask, rights):
    umask(mask)
    assert left(tmp_path / "table.csv") == rights
    with RunFolder(tmp_path / "run").locked() as run:
        run.artefact("a.json", {}).write(lambda path: path.write_text("1"))
    assert {stat.S_IMODE(p.stat().st_mode) for p in run.path.iterdir()} == {rights}


def test_a_file_that_is_replaced_keeps_its_rights(tmp_path, umask):
    path = tmp_path / "table.csv"
    for rights in (0o640, 0o600, 0o666):
        path.write_text("old")
        path.chmod(rights)
        assert left(path) == rights


def test_an_output_that_is_a_link_is_written_through(tmp_path):
    target, link = tmp_path / "elsewhere" / "table.csv", tmp_path / "link.csv"
    link.symlink_to(target)  # to nothing yet
    for text in ("one", "two"):
        left(link, text)
        assert link.is_symlink() and target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["table.csv"]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "table.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, lambda temporary: temporary.write_text("rows"))
    assert os.read(reader, 10) == b"rows" and stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)


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


def test_json_is_written_readably(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Grünfink"})
    assert "Grünfink" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_json_that_an_editor_saved_with_a_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_any_name_comes_back_from_a_table():
    rows = [["a\rb", "a\nb", 'say "a", b', "=1", "\r\n"], ["", "x", "y", "z", "\u2028"]]
    assert list(csv.reader(io.StringIO(csv_text(rows), newline=""))) == rows
