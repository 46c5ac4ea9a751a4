"""What a row of the benchmark is, how it is measured, and how the rows become Markdown."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from benchmarks.measuring import Measurement, in_own_process, in_turns, log_log_slope, measured
from configs.errors import RunError, UsageError

Work = Callable[[], object]
Case = Callable[..., AbstractContextManager[tuple[Work, Work | None]]]
NOTHING = "–"


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
    """The row measured: memory of each way in a process of its own, time by turns in a third."""
    try:
        ours, other = (in_own_process(_first_run, row, way) for way in (0, 1))
        if row.rounds > 1:
            seconds = in_own_process(_turns, row.case, row.sizes, row.rounds, 2)
            ours = replace(ours, seconds=seconds[0])
            other = other and replace(other, seconds=seconds[1])
    except (
        UsageError,
        RunError,
    ) as error:  # a package that is not here, a solver that found nothing
        return Comparison(row, missing=str(error))
    return Comparison(row, ours, other)


def grow(growth: Growth) -> MeasuredGrowth:
    """The growth measured, each value of the size that grows in a process of its own."""
    (name,) = (name for name, value in growth.sizes.items() if isinstance(value, tuple))
    fixed = {other: value for other, value in growth.sizes.items() if other != name}
    seconds = [
        in_own_process(_turns, growth.case, fixed | {name: value}, growth.rounds, 1)[0]
        for value in growth.sizes[name]
    ]
    return MeasuredGrowth(growth, fixed, name, growth.sizes[name], seconds)


def _first_run(row: Row, way: int) -> Measurement | None:
    with row.case(**row.sizes) as works:
        if works[way] is None:
            return None
        run = measured(works[way])
    return run if row.shows else replace(run, result=None)


def _turns(case: Case, sizes: dict, rounds: int, ways: int) -> list[float]:
    with case(**sizes) as works:
        return in_turns([work for work in works[:ways] if work is not None], rounds)


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
