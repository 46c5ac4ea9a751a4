"""What a row of the benchmark is, how it is measured, and how the rows become Markdown."""

from collections.abc import Callable, Iterable
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
    """Our way of doing something against another way.

    Attributes:
        title: what is done; sizes in braces are filled in.
        case: prepares the input from the sizes and yields (ours, the other way or None); cleans up after that.
        sizes: arguments of the case.
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


@dataclass(frozen=True)
class Growth:
    """How the time of our way grows with one of its sizes.

    Attributes:
        title: what is done; sizes in braces are filled in.
        case: as in a row.
        sizes: arguments of the case; the one that grows is a tuple.
        quick: the same for a quick look.
        rounds: of which the median is taken.
    """

    title: str
    case: Case
    sizes: dict
    quick: dict
    rounds: int = 3


@dataclass(frozen=True)
class Comparison:
    """A measured row: `ours` and `other` (None if there is none), or why it could not be measured."""

    row: Row
    ours: Measurement | None = None
    other: Measurement | None = None
    missing: str = ""

    @property
    def ratio(self) -> float:
        """Seconds of the other way over ours: above 1, ours is faster."""
        return self.other.seconds / self.ours.seconds

    def cells(self) -> list[str]:
        """What stands in the table's columns."""
        title, against = self.row.title.format(**self.row.sizes), self.row.against
        if self.missing:
            return [title, NOTHING, against, self.missing, *[NOTHING] * 3]
        ours = self._cost(self.ours)
        if self.other is None:
            return [title, ours, against, NOTHING, NOTHING, _memory(self.ours), NOTHING]
        ratio = f"**{self.ratio:.2f}**"
        memory = [_memory(self.ours), _memory(self.other)]
        return [title, ours, against, self._cost(self.other), ratio, *memory]

    def _cost(self, run: Measurement) -> str:
        parts = [_seconds(run.seconds)]
        if self.row.counts:
            parts.append(f"{self.row.sizes[self.row.counts] / run.seconds:.1f} {self.row.counts}/s")
        if self.row.shows:
            parts.append(self.row.shows.format(run.result))
        return ", ".join(parts)


@dataclass(frozen=True)
class MeasuredGrowth:
    """Median seconds at every value of the size that grows."""

    growth: Growth
    fixed: dict
    grows: str
    values: tuple[int, ...]
    seconds: list[float]

    @property
    def slope(self) -> float:
        """p where seconds grow as size^p."""
        return log_log_slope(self.values, self.seconds)

    def cells(self) -> list[str]:
        """What stands in the table's columns."""
        return [
            self.growth.title.format(**self.fixed),
            f"{self.grows}: {', '.join(map(str, self.values))}",
            ", ".join(map(_seconds, self.seconds)),
            f"**{self.slope:.2f}**",
        ]


def quick_look(item: Row | Growth) -> Row | Growth:
    """The same at its tiny sizes."""
    return replace(item, sizes=item.quick, rounds=min(item.rounds, 2))


def compare(row: Row) -> Comparison:
    """The row measured, each way in a process of its own: memory in a first run, time in turns with the other way."""
    with own_process() as ours, own_process() as other:
        ways = list(enumerate((ours, other)))
        try:
            runs = [run(_first_run, row, way) for way, run in ways]
            if row.rounds > 1:
                turns = [partial(run, _turn, way) for way, run in ways if runs[way]]
                for way, seconds in enumerate(in_turns(turns, row.rounds)):
                    runs[way] = replace(runs[way], seconds=seconds)
        except (UsageError, RunError) as error:  # a package not here, a solver that found nothing
            return Comparison(row, missing=str(error))
        finally:
            for _, run in ways:
                run(_inputs.close)
    return Comparison(row, *runs)


def _first_run(row: Row, way: int) -> Measurement | None:
    _works[:] = _inputs.enter_context(row.case(**row.sizes))
    if _works[way] is None:
        return None
    run = measured(_works[way])
    return run if row.shows else replace(run, result=None)


def _turn(way: int) -> float:
    return seconds_of(_works[way])


def grow(growth: Growth) -> MeasuredGrowth:
    """The growth measured, each value of the size that grows in a process of its own."""
    (name,) = (name for name, value in growth.sizes.items() if isinstance(value, tuple))
    fixed = {other: value for other, value in growth.sizes.items() if other != name}
    seconds = [
        in_own_process(_turns, growth.case, fixed | {name: value}, growth.rounds)
        for value in growth.sizes[name]
    ]
    return MeasuredGrowth(growth, fixed, name, growth.sizes[name], seconds)


def _turns(case: Case, sizes: dict, rounds: int) -> float:
    with case(**sizes) as (ours, _):
        return in_turns([partial(seconds_of, ours)], rounds)[0]


def markdown(header: list[str], lines: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.1f} ms"
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"


def _memory(run: Measurement) -> str:
    gpu = f" + {run.gpu_mebibytes:.0f} MiB of GPU" if run.gpu_mebibytes else ""
    return f"{run.mebibytes:.0f} MiB{gpu}"
