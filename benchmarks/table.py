"""What a row of a benchmark is, how it is measured, and how rows become Markdown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.measuring import Measurement, in_turns, measured, own_process
from configs.errors import RunError, UsageError
from configs.script import progress

Work = Callable[[], object]
Case = Callable[..., tuple[Work, Work | None]]
NOTHING = "–"
COLUMNS = ["what", "ours", "compared with", "takes", "ratio", "peak memory, ours", "the other"]

_works: list[Work | None] = []  # of the row, in the process of one of its ways


@dataclass(frozen=True)
class Row:
    """Our way of doing something, alone or against another way.

    Attributes:
        title: what is done; sizes in braces are filled in.
        case: prepares the input from the sizes and returns (ours, the other way or None).
        sizes: arguments of the case.
        against: what the other way is.
        rounds: how often both take turns; with 1, the runs that measure the memory give the times.
        counts: the size of which the number per second is shown, if any.
        shows: how every number that both return is written, if they do.
    """

    title: str
    case: Case
    sizes: dict
    against: str = NOTHING
    rounds: int = 1
    counts: str = ""
    shows: str = ""

    def cost(self, run: Measurement) -> str:
        """What a run took, and what it returned if that is shown."""
        parts = [seconds(run.seconds)]
        if self.rounds == 1:
            parts.append(f"{seconds(run.processor_seconds)} of the processor")
        if self.counts:
            parts.append(f"{self.sizes[self.counts] / run.seconds:.1f} {self.counts}/s")
        if self.shows:
            parts += map(self.shows.format, np.atleast_1d(run.result))
        return ", ".join(parts)


def comparison(rows: Sequence[Row]) -> str:
    """The table of some rows, measured now; columns without content are left out."""
    lines = [COLUMNS, *map(compare, progress(rows, desc="Measuring"))]
    kept = [column for column in zip(*lines, strict=True) if set(column[1:]) != {NOTHING}]
    header, *cells = zip(*kept, strict=True)
    return markdown(header, cells)


def compare(row: Row) -> list[str]:
    """Cells of the row measured, each way in a process of its own: memory in a first run, time in turns."""
    title = row.title.format(**row.sizes)
    try:
        ours, other = _runs(row)
    except (UsageError, RunError) as error:  # a package not here, a solver that found nothing
        return [title, NOTHING, row.against, str(error), *[NOTHING] * 3]
    if other is None:
        return [title, row.cost(ours), row.against, NOTHING, NOTHING, memory(ours), NOTHING]
    ratio = f"**{other.seconds / ours.seconds:.2f}**"
    return [title, row.cost(ours), row.against, row.cost(other), ratio, memory(ours), memory(other)]


def _runs(row: Row) -> list[Measurement | None]:
    with own_process() as ours, own_process() as other:
        ways = list(enumerate((ours, other)))
        runs = [run(_first_run, row, way) for way, run in ways]
        if row.rounds > 1:
            turns = [partial(run, _turn, way) for way, run in ways if runs[way]]
            for way, median in enumerate(in_turns(turns, row.rounds)):
                runs[way] = replace(runs[way], seconds=median)
        for _, run in ways:
            run(_forget)
    return runs


def _first_run(row: Row, way: int) -> Measurement | None:
    _works[:] = row.case(**row.sizes)
    if _works[way] is None:
        return None
    run = measured(_works[way])
    return run if row.shows else replace(run, result=None)


def _forget() -> None:
    _works.clear()  # and with them their files


def _turn(way: int) -> float:
    return measured(_works[way]).seconds


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def seconds(value: float) -> str:
    """A time with its unit."""
    if value < 1:
        return f"{1000 * value:.1f} ms"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def memory(run: Measurement) -> str:
    """The peak memory of a run with its unit."""
    gpu = f" + {run.gpu_mebibytes:.0f} MiB of GPU" if run.gpu_mebibytes else ""
    return f"{run.mebibytes:.0f} MiB{gpu}"
