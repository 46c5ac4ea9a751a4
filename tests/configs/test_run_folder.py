"""Files of a run are reused only while they are valid."""

import pytest
from refusals import refused

from configs.errors import RunError
from configs.run_folder import RunFolder


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


def test_a_manifest_that_cannot_be_read_is_one_line_before_any_work(run):
    run.file("manifest.json").mkdir()
    with refused(RunError, "manifest.json is not a file"), run.locked():
        pass
    run.file("manifest.json").rmdir()
    with run.locked():  # the lock is free
        pass
