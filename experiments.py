"""Run every combination of the settings in a table, over seeds.

    python experiments.py FILE.toml [--jobs N]

The file holds flags of main.py: those at its top are for all runs, each [[runs]] adds its own. A list of values means
one run for each; for flags that take several values (coverage, set) a list of lists does. Every run has its usual
folder; finished runs are skipped, and interrupted ones are resumed:

    data_root = "~/datasets"
    seed = [0, 1, 2]
    [[runs]]
    dataset = "CUB2011"
    model_type = ["chiqpm", "qpm"]
    n_per_class = [3, 5]

Runs that share a folder (same dataset, architecture and seed) share a dense model, so they run one after another.
"""

import configs  # noqa: F401, I001  first, so that a missing tqdm is told in one line
import itertools
import logging
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from configs.arguments import Range, flag, parse_flags, with_first, within
from configs.errors import RunError, UsageError, reason
from configs.paths import expanded
from configs.runs import is_finished, training_run
from configs.script import explained, run_script
from configs.settings import Settings, parse_settings
from configs.stages import StageFlags

log = logging.getLogger(__name__)
GROUP = "experiments"
SEVERAL = [f.name for f in fields(Settings) if f.metadata["many"]]  # flags that take several values


@dataclass(frozen=True)
class ExperimentFlags:
    """Which runs to start, and how."""

    file: str | None = flag(GROUP, None, "table of runs in TOML; --file can be left out", parse=expanded)
    jobs: int = flag(
        GROUP, 1, "runs at a time; with several, their output is only in log.txt of their folders",
        parse=within(int, Range(1)),
    )  # fmt: skip
    processes: int = flag(GROUP, 1, "processes of every run, started by torchrun", parse=within(int, Range(1)))
    stop: bool = flag(GROUP, False, "stop at the first run that fails")
    print_commands: bool = flag(
        GROUP, False, "print the commands without running them, one line per folder, for an array job"
    )
    dry_run: bool = flag(GROUP, False, "print what every run would do and cost, without running any")


@dataclass(frozen=True)
class Experiment:
    """One run: its flags of main.py, and the settings they give."""

    argv: list[str]
    settings: Settings

    @property
    def name(self) -> str:
        """Name of the run in the log."""
        return f"{training_run(self.settings).path} {self.settings.model_name.removesuffix('_*_*')}"


def main() -> None:
    """Start all runs of a table that are not finished."""
    (flags,) = parse_flags(with_first("file", sys.argv[1:]), __doc__, ExperimentFlags)
    if flags.file is None:
        raise UsageError("name the table of runs: python experiments.py FILE.toml (see --help)")
    everything = read_table(Path(flags.file))
    left = [e for e in everything if not is_finished(e.settings)]
    if flags.print_commands:
        for chain in chains(left):
            print(" && ".join(shlex.join(command(e, flags.processes, typed=True)) for e in chain))
        return
    log.info("%d runs, %d of them finished.", len(everything), len(everything) - len(left))
    failed = rehearse_all(left) if flags.dry_run else start_all(left, flags)
    if failed:
        raise RunError(f"{len(failed)} of {len(left)} runs failed: {'; '.join(failed)}")


def read_table(path: Path) -> list[Experiment]:
    """All runs of a table, in its order; UsageError if it cannot be read, or main.py would refuse a run."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from None
    runs = table.pop("runs", [{}])
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise UsageError(f"{path}: runs are tables that each begin with [[runs]]")
    found: dict[tuple, Experiment] = {}
    for number, run in enumerate(runs, start=1):
        for argv in combinations({**table, **run}):
            try:
                (settings,) = parse_settings(argv, "")
            except UsageError as error:
                raise UsageError(f"{path}, run {number}: {error}") from None
            if settings.seed is None:
                raise UsageError(f"{path}, run {number}: give its seeds, such as seed = [0, 1, 2]")
            found[tuple(argv)] = Experiment(argv, settings)
    if not found:
        raise UsageError(f"{path} asks for no run: one of its lists is empty")
    for chain in chains(list(found.values())):
        refuse_to_overwrite(path, chain)
    return list(found.values())


def refuse_to_overwrite(path: Path, chain: list["Experiment"]) -> None:
    """Raise a UsageError if runs of one folder would replace one another's models again and again."""
    models = [experiment.settings.model_name for experiment in chain]
    dense = [experiment.settings.dense_dependencies() for experiment in chain]
    if len({*models}) < len(models) or any(other != dense[0] for other in dense):
        folder = training_run(chain[0].settings).path
        raise UsageError(
            f"{path}: several runs would leave different models under one name in {folder}; "
            "give each a log_dir of its own"
        )


def combinations(flags: Mapping[str, Any]) -> Iterator[list[str]]:
    """The command line of every combination of values."""
    choices = []
    for name, value in flags.items():
        several = name.lower().replace("-", "_") in SEVERAL
        ranged = isinstance(value, list) and (not several or any(isinstance(v, list) for v in value))
        choices.append([(name, v) for v in (value if ranged else [value])])
    # The first flags change slowest, so that runs of one folder mostly follow one another.
    for chosen in itertools.product(*choices):
        argv: list[str] = []
        for name, value in chosen:
            values = value if isinstance(value, list) else [value]
            argv += [f"--{name}", *map(str, values)] if values else []
        yield argv


def chains(experiments: Sequence[Experiment]) -> list[list[Experiment]]:
    """The runs grouped by folder: those of one folder run one after another."""
    by_folder: dict[Path, list[Experiment]] = {}
    for experiment in experiments:
        by_folder.setdefault(training_run(experiment.settings).path, []).append(experiment)
    return list(by_folder.values())


def command(experiment: Experiment, processes: int, typed: bool = False) -> list[str]:
    """The command that starts a run with this Python; `typed`: as a person would type it."""
    script = "main.py" if typed else str(Path(__file__).with_name("main.py"))
    start = ["python"] if typed else [sys.executable]
    if processes > 1:
        torchrun = ["torchrun"] if typed else [*start, "-m", "torch.distributed.run"]
        start = [*torchrun, "--standalone", "--nproc_per_node", str(processes)]
    return [*start, script, *experiment.argv]


def start_all(experiments: Sequence[Experiment], flags: ExperimentFlags) -> list[str]:
    """Run them, `flags.jobs` at a time; returns the names and errors of those that failed."""
    failed: list[str] = []
    done = itertools.count(1)

    def run_chain(chain: list[Experiment]) -> None:
        for experiment in chain:
            if failed and flags.stop:
                return
            start = time.monotonic()
            error = run(experiment, flags)
            if error is not None:
                failed.append(f"{experiment.name}: {error}")
            log.info(
                "%s of %s: %s, %s", next(done), len(experiments), experiment.name,
                f"done in {tqdm.format_interval(time.monotonic() - start)}" if error is None else error,
            )  # fmt: skip

    pool = ThreadPoolExecutor(flags.jobs)
    try:
        list(pool.map(run_chain, chains(experiments)))
    finally:  # none is begun after Ctrl-C
        pool.shutdown(wait=True, cancel_futures=True)
    return failed


def rehearse_all(experiments: Sequence[Experiment]) -> list[str]:
    """Print what all runs would do and cost; returns the names of those that would fail."""
    from main import opened, pipeline  # which takes seconds
    from training.forecast import forecast

    failed: list[str] = []
    seconds, size, uncounted = 0.0, 0, ""
    paces: dict = {}
    for chain in chains(experiments):
        done: set[str] = set()  # stages that earlier runs would do
        for experiment in chain:
            log.info("")
            try:
                found = forecast(opened(experiment.settings, StageFlags(dry_run=True)), pipeline, done, paces)
            except Exception as error:
                log.error("%s: error: %s", experiment.name, explained(error))
                failed.append(experiment.name)
                continue
            log.info("%s", found)
            seconds, size, uncounted = seconds + found.seconds, size + found.size, found.uncounted or uncounted
            done.update(found.costs)
    total = tqdm.format_interval(seconds)
    log.info("\nOne after another they would take about %s%s and leave %.0f MB on disk.", total, uncounted, size / 1e6)
    return failed


def run(experiment: Experiment, flags: ExperimentFlags) -> str | None:
    """Start a run and wait for it; returns the line that says why it failed, or None."""
    alone = flags.jobs == 1
    ended = subprocess.run(
        command(experiment, flags.processes),
        stdout=None if alone else subprocess.DEVNULL,
        stderr=None if alone else subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode == 0:
        return None
    said = [line for line in (ended.stderr or "").splitlines() if "error: " in line]
    return said[-1].partition("error: ")[2] if said else f"ended with exit code {ended.returncode}"


if __name__ == "__main__":
    run_script(main)
