"""The one stopwatch of all benchmarks: seconds, peak memory, and the machine they were taken on."""

import datetime
import math
import multiprocessing
import os
import platform
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from configs.records import commit
from sparsification.qpm.progress import Stopwatch

EVERY = 0.01  # seconds between two readings of the memory
PROCESS_STATUS = Path("/proc/self/status")
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "highspy", "glm-saga")


@dataclass(frozen=True)
class Measurement:
    """What one piece of work cost."""

    seconds: float  # of computing; if a GPU takes part, of wall time
    mebibytes: float  # peak of allocated memory, minus that before; nan if it cannot be read
    result: Any  # what the work returned


def measured(work: Callable, *arguments) -> Measurement:
    """Time and peak memory of `work(*arguments)`.

    Memory freed before may be reused unnoticed, so peaks are correct only for the first work of a process.
    """
    before = peak = allocated()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(EVERY):
            peak = max(peak, allocated())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start, computing = time.perf_counter(), Stopwatch()
    try:
        result = work(*arguments)
        seconds = computing.elapsed
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # it is still working after the call
            seconds = time.perf_counter() - start
    finally:
        done.set()
        watcher.join()
    peak = max(peak, allocated())
    return Measurement(seconds, peak - before, result)


def allocated() -> float:
    """Anonymous memory of this process, MiB; nan where it cannot be read, as outside Linux.

    Mapped files are left out: the system takes their pages back whenever it needs them.
    """
    if not PROCESS_STATUS.exists():
        return math.nan
    lines = PROCESS_STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if "RssAnon" in line) / 1024


def in_own_process(function: Callable, *arguments):
    """`function(*arguments)` in a fresh process, which has allocated nothing yet.

    The process is forked from one that has imported all benchmarks and computed nothing, so it starts at once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.__main__"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def machine() -> dict[str, str]:
    """The machine, the versions and the commit."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    processors = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "date": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        "commit": commit() or "unknown",
        "processor": next(iter(processors), platform.processor()),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "cores": f"{os.cpu_count()}, {torch.get_num_threads()} threads used",
        "load before": ", ".join(f"{value:.1f}" for value in load),
        "system": f"{platform.platform()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{package} {version(package)}" for package in PACKAGES),
    }
