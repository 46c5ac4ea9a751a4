"""Shared fixtures: the golden cases and the small programs with proven optima kept beside the tests."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_datasets import make_cub
from forked_runs import Launcher, narrow_layout
from small_run import make_small_run

from architectures.backbones import resnet

HERE = Path(__file__).parent


def pytest_configure(config):
    """One thread for every process: networks are tiny, and the workers of pytest-xdist share the cores.

    What users' programs keep between calls goes into a folder of this session, which is removed.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    folder = tempfile.TemporaryDirectory(prefix="chiqpm-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """Nothing that one test remembers is known to another."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def golden():
    """Load a golden case by name: `golden("class_pairs_1")["in_A"]` (see tests/golden)."""
    return lambda name: dict(np.load(HERE / "golden" / f"{name}.npz", allow_pickle=False))


@pytest.fixture
def qp_instance():
    """Load a selection instance by name: `qp_instance("qpm_00")["A"]` (see tests/qp_instances)."""
    return lambda name: dict(np.load(HERE / "qp_instances" / f"{name}.npz", allow_pickle=False))


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    """Runs main.py in real processes on a tiny CUB; see `forked_runs`."""
    folder = tmp_path_factory.mktemp("forked_runs")
    make_cub(folder / "data", train=6, test=4)
    launcher = Launcher(folder)
    yield launcher
    launcher.close()


@pytest.fixture(scope="module")
def narrow_networks():
    """In this module a ResNet-18 is a small one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(resnet.LAYOUTS, "resnet18", narrow_layout())
        yield


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> list[str]:
    """Flags that lead to a small finished run of the module; see `small_run`."""
    return make_small_run(tmp_path_factory.mktemp("small_run"))


@dataclass(frozen=True)
class WholeRun:
    """The run `whole` of the launcher, which was left alone: its events, and the files it left."""

    events: list[str]
    results: dict


@pytest.fixture(scope="session")
def whole_run(launcher) -> WholeRun:
    """What all runs of the launcher are to end as."""
    ended = launcher.run("whole")
    assert ended.code == 0, ended.errors
    return WholeRun(ended.events, launcher.results("whole"))


@pytest.fixture
def browser(chromium):
    """A browser whose console is to stay without errors in the test."""
    chromium.get_log("browser")
    yield chromium
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium that reaches this machine only, or a skip that says what is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs: pip install selenium")
    program = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs Chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1300,1200"):
        options.add_argument(f"--{flag}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    # Naming the driver keeps selenium from looking for one on the network.
    service = webdriver.ChromeService(executable_path=driver)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()
