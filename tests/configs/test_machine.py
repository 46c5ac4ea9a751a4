"""The machine's habits: homes, consoles, memory and variables of other programs."""

import errno
import logging
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from configs import processes
from configs.errors import RunError, UsageError
from configs.paths import cache_folder, expanded
from configs.script import log_to, one_line, run_script
from configs.settings import Settings, parse_settings, resolve

REPOSITORY = Path(__file__).parents[2]


def ends(main, capfd) -> tuple[int, str]:
    """Exit code of a script's main function, and what it wrote to stderr."""
    try:
        run_script(main)
    except SystemExit as stop:
        return int(stop.code), capfd.readouterr().err.strip()
    return 0, capfd.readouterr().err.strip()


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home, as of a container."""

    def unknown(_):
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME", "CHIQPM_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize("flag", ["--data_root", "--log_dir", "--folder", "--weights"])
def test_an_unknown_home_is_named(flag):
    with pytest.raises(UsageError, match=f"{flag}: ~birds: there is no user 'birds'"):
        parse_settings([flag, "~birds"], "")
    with pytest.raises(UsageError, match=f"{flag}: an empty path"):
        parse_settings([flag, ""], "")


def test_without_a_home_only_what_needs_it_is_refused(homeless, tmp_path):
    settings, *_ = parse_settings(["--log_dir", str(tmp_path)], "")
    assert settings.runs_folder.parts[: len(tmp_path.parts)] == tmp_path.parts
    with pytest.raises(UsageError, match="give --log_dir or --folder"):
        _ = parse_settings([], "")[0].runs_folder
    assert cache_folder() is None
    with pytest.raises(ValueError, match="give the whole path"):
        expanded("~/a")


def test_an_unknown_home_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("CHIQPM_DATA", "~birds")
    with pytest.raises(UsageError, match="CHIQPM_DATA: ~birds"):
        resolve(Settings())


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_no_memory_is_one_line_that_says_what_to_lower(error, capfd):
    code, said = ends(raising(error), capfd)
    assert code == 1 and "\n" not in said
    assert all(word in said for word in ("out of memory", "--batch_size", "--img_size", "--workers"))


def test_what_the_system_refuses_is_one_line_and_a_mistake_of_ours_is_not_hidden(capfd):
    code, said = ends(raising(PermissionError(13, "Permission denied", "a.txt")), capfd)
    assert code == 1 and "Permission denied: 'a.txt'" in said and "\n" not in said
    with pytest.raises(ZeroDivisionError):
        run_script(raising(ZeroDivisionError()))


SCRIPT = """
import sys
{before}
from configs.script import run_script
def main():
    {main}
run_script(main)
"""


def script(main: str, before: str = "", *, shell: str = "", **env: str) -> subprocess.CompletedProcess:
    """A script in a process of its own; `shell` follows its command."""
    command = [sys.executable, "-c", SCRIPT.format(main=main, before=before)]
    if shell:
        command = ["bash", "-c", f'"$0" "$@" {shell}', *command]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **env}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_letters_that_a_console_lacks_are_escaped_in_prints_logs_and_errors():
    name = "\\u96c0 \\u0141"
    main = f"import logging; print('{name}'); logging.getLogger().warning('{name}')"
    done = script(main, PYTHONIOENCODING="cp1252")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == r"\u96c0 \u0141" "\n" r"\u96c0 \u0141" "\n"


def test_a_closed_pipe_ends_a_script_quietly():
    main = "import logging\n    for i in range(10**5): print(i); logging.getLogger().warning('x')"
    done = script(main, shell="| head -1; exit ${PIPESTATUS[0]}")
    assert done.returncode == 141 and done.stderr == "" and done.stdout in ("0\n", "x\n")


def test_a_full_disk_behind_the_output_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = script("print('x' * 10**5)", shell="> /dev/full")
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_during_the_imports_is_one_line():
    # What is started in the background inherits that Ctrl-C is ignored, and so may these tests.
    listen = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    interrupt = f"{listen}; import architectures; os.kill(os.getpid(), signal.SIGINT)"
    done = script("pass", interrupt)
    assert done.returncode in (130, -2) and done.stderr == "\nInterrupted.\n"


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (
            "import configs; raise RuntimeError('operator torchvision::nms does not exist')",
            "torch and torchvision do not match",
        ),
        ("import sys; sys.modules['filelock'] = sys; import main", "a package does not fit here (cannot import name"),
    ],
)
def test_packages_that_do_not_fit_are_one_line(fails, said):
    done = script("pass", fails)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and said in done.stderr


MODULES = ("evaluation", "dataset_classes.check", "benchmarks")
SCRIPTS = [*([path.name] for path in sorted(REPOSITORY.glob("*.py"))), *(["-m", module] for module in MODULES)]


@pytest.mark.parametrize("script", SCRIPTS, ids=" ".join)
def test_every_script_says_in_one_line_that_packages_are_missing(script):
    command = [sys.executable, "-E", "-S", *script]  # -S: without site-packages
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "is not installed here: run " in done.stderr


def test_a_working_directory_that_is_gone_is_one_line(tmp_path):
    shell = 'cd "$0" && rmdir "$0" && exec "$@"'
    command = ["bash", "-c", shell, str(tmp_path / "gone"), sys.executable, "-c", "import architectures"]
    (tmp_path / "gone").mkdir()
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "working directory" in done.stderr


def test_plot_settings_of_the_environment_are_left_alone(tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.family: Größe", encoding="latin-1")
    environment = {"MPLBACKEND": "module://not_installed.anywhere", "MPLCONFIGDIR": str(tmp_path)}
    done = script("pass", "import configs, matplotlib", **environment)
    assert done.returncode == 0, done.stderr


def test_variables_of_torchrun_without_torchrun_are_ignored_with_a_line(monkeypatch):
    names = processes.TORCHRUN_VARIABLES
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert processes.ignore_stray_variables() is None
    for name, value in (("WORLD_SIZE", "two"), ("RANK", "1"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    assert "RANK, WORLD_SIZE, LOCAL_RANK without torchrun" in processes.ignore_stray_variables()
    assert (processes.count(), processes.rank(), processes.local_rank()) == (1, 0, 0)
    for name in names:
        monkeypatch.setenv(name, "1")
    assert processes.ignore_stray_variables() is None and processes.rank() == 1


def test_a_log_holds_names_that_are_no_text(tmp_path, capsys):
    log_to(tmp_path / "log.txt")
    handler = logging.getLogger().handlers[-1]
    try:
        handler.handle(logging.makeLogRecord({"msg": "b\udcff.png"}))
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert r"b\udcff.png" in (tmp_path / "log.txt").read_text()
    assert not capsys.readouterr().err


def test_no_name_breaks_the_one_line_of_an_error():
    assert one_line(RunError("The image a\n\x1b[31mb.png is missing.")) == r"The image a\n\x1b[31mb.png is missing."
