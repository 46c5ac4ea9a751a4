"""What a row of the benchmark is, how it is measured, and how rows become Markdown."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.measuring import (
    Measurement,
    in_own_process,
    in_turns,
    log_log_slope,
    measured,
    own_process,
    seconds_of,
)
from configs.errors import RunError, UsageError

Work = Callable[[], object]
Case = Callable[..., AbstractContextManager[tuple[Work, Work | None]]]
NOTHING = "–"

# In the process of one way of a row, from its first run to its last turn: what holds its input, and the two works.
_inputs = ExitStack()
_works: list[Work | None] = []


@dataclass(frozen=True)
class Row:
    """Our way of doing something: against another way, or at growing sizes.

    Attributes:
        title: what is done; sizes in braces are filled in.
        case: prepares the input from the sizes and yields (ours, the other way or None); cleans up after that.
        sizes: arguments of the case; in a row of `grow` one of them is a tuple, the size that grows.
        quick: the same for a quick look.
        against: what the other way is.
        rounds: how often both take turns; with 1, the runs that measure the memory give the times.
        counts: the size of which the number per second is shown, if any.
        shows: how the number that both return is written, if they do.
    """

    title: str
    case: Case
    sizes: dict
    quick: dict
    against: str = NOTHING
    rounds: int = 1
    counts: str = ""
    shows: str = ""

    def quick_look(self) -> "Row":
        """The same at its tiny sizes."""
        return replace(self, sizes=self.quick, rounds=min(self.rounds, 2))

    def cost(self, run: Measurement) -> str:
        """What a run took, and what it returned if that is shown."""
        parts = [seconds(run.seconds)]
        if self.counts:
            parts.append(f"{self.sizes[self.counts] / run.seconds:.1f} {self.counts}/s")
        return ", ".join([*parts, self.shows.format(run.result)] if self.shows else parts)


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
        try:
            runs = [run(_first_run, row, way) for way, run in ways]
            if row.rounds > 1:
                turns = [partial(run, _turn, way) for way, run in ways if runs[way]]
                for way, median in enumerate(in_turns(turns, row.rounds)):
                    runs[way] = replace(runs[way], seconds=median)
        finally:
            for _, run in ways:
                run(_inputs.close)
    return runs


def _first_run(row: Row, way: int) -> Measurement | None:
    _works[:] = _inputs.enter_context(row.case(**row.sizes))
    if _works[way] is None:
        return None
    run = measured(_works[way])
    return run if row.shows else replace(run, result=None)


def _turn(way: int) -> float:
    return seconds_of(_works[way])


def grow(row: Row) -> list[str]:
    """Cells of our way at every value of the size that grows, each in a process of its own: p where time is size^p."""
    (name,) = (name for name, value in row.sizes.items() if isinstance(value, tuple))
    values = row.sizes[name]
    medians = [
        in_own_process(_median, row.case, row.sizes | {name: value}, max(row.rounds, 1))
        for value in values
    ]
    return [
        row.title.format(**row.sizes),
        f"{name}: {', '.join(map(str, values))}",
        ", ".join(map(seconds, medians)),
        f"**{log_log_slope(values, medians):.2f}**",
    ]


def _median(case: Case, sizes: dict, rounds: int) -> float:
    with case(**sizes) as (ours, _):
        return in_turns([partial(seconds_of, ours)], rounds)[0]


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
