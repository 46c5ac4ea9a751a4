"""Rows of a benchmark: how they are measured, and their table in Markdown."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.measuring import Measurement, in_own_process, measured
from configs.errors import RunError, UsageError
from configs.script import progress

Case = Callable[..., tuple[Callable[[], object], Callable[[], object] | None]]
NOTHING = "–"
COLUMNS = ["what", "ours", "compared with", "takes", "ratio", "peak memory, ours", "the other"]


@dataclass(frozen=True)
class Row:
    """Our way of doing something, alone or against another way."""

    title: str  # what is done; sizes in braces are filled in
    case: Case  # prepares the input from the sizes and returns (ours, the other way or None)
    sizes: dict  # arguments of the case
    against: str = NOTHING  # what the other way is
    rounds: int = 1  # how often both take turns; with 1, the run that measures the memory gives the time
    shows: str = ""  # format of each number that both return, if they return any

    def cells(self, run: Measurement | None) -> tuple[str, str]:
        """Time of a run, with its numbers if they are shown, and its memory."""
        if run is None:
            return NOTHING, NOTHING
        parts = [duration(run.seconds)]
        if self.shows:
            parts += map(self.shows.format, np.atleast_1d(run.result))
        return ", ".join(parts), f"{run.mebibytes:.0f} MiB"


def comparison(rows: Sequence[Row]) -> str:
    """The table of some rows, measured now; columns without content are left out."""
    lines = [COLUMNS, *map(compare, progress(rows, desc="Measuring"))]
    kept = [column for column in zip(*lines, strict=True) if set(column[1:]) != {NOTHING}]
    header, *cells = zip(*kept, strict=True)
    return markdown(header, cells)


def compare(row: Row) -> list[str]:
    """Cells of the row, measured: the ways take turns, so that a drift of the machine affects both equally."""
    title = row.title.format(**row.sizes)
    try:
        turns = [[in_own_process(_measure, row, way) for way in (0, 1)] for _ in range(row.rounds)]
    except (UsageError, RunError) as error:  # a package not here, a solver that found nothing
        return [title, NOTHING, row.against, str(error), *[NOTHING] * 3]
    ours, other = (_median(runs) for runs in zip(*turns, strict=True))
    (cost, memory), (takes, other_memory) = row.cells(ours), row.cells(other)
    ratio = f"**{other.seconds / ours.seconds:.2f}**" if other else NOTHING
    return [title, cost, row.against, takes, ratio, memory, other_memory]


def _measure(row: Row, way: int) -> Measurement | None:
    """The memory of a first run; its time, too, unless there are several rounds: then that of a second."""
    work = row.case(**row.sizes)[way]
    if work is None:
        return None
    run = measured(work)
    time = measured(work).seconds if row.rounds > 1 else run.seconds
    return replace(run, seconds=time, result=run.result if row.shows else None)


def _median(runs):
    """The first run, with the median time of all; None if there are none."""
    return runs[0] and replace(runs[0], seconds=statistics.median(run.seconds for run in runs))


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def duration(value: float) -> str:
    """A time with its unit."""
    if value < 1:
        return f"{1000 * value:.1f} ms"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"
