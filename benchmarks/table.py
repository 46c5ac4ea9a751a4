"""What a row of the benchmark is, how it is measured, and how the rows become Markdown."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from benchmarks.measuring import Measurement, in_own_process, in_turns, log_log_slope, measured
from configs.errors import UsageError

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
        shows: the name of the number that both return, if they do.
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
    sizes: dict
    ours: Measurement | None = None
    other: Measurement | None = None
    missing: str = ""

    @property
    def ratio(self) -> float:
        """Seconds of the other way over ours: above 1, ours is faster."""
        return self.other.seconds / self.ours.seconds

    def cells(self) -> list[str]:
        """What stands in the table's columns."""
        title = self.row.title.format(**self.sizes)
        if self.ours is None:
            return [title, NOTHING, self.row.against, *[NOTHING] * 4, self.missing]
        if self.other is None:
            return [
                title, self._time(self.ours), self.row.against, NOTHING, NOTHING,
                _memory(self.ours), NOTHING, self._result(self.ours),
            ]  # fmt: skip
        results = [self._result(self.ours), self._result(self.other)] if self.row.shows else []
        return [
            title, self._time(self.ours), self.row.against, self._time(self.other), f"**{self.ratio:.2f}**",
            _memory(self.ours), _memory(self.other), " against ".join(results),
        ]  # fmt: skip

    def _time(self, run: Measurement) -> str:
        counted = self.row.counts
        rate = f" ({self.sizes[counted] / run.seconds:.1f} {counted}/s)" if counted else ""
        return f"{_seconds(run.seconds)}{rate}"

    def _result(self, run: Measurement) -> str:
        return f"{self.row.shows} {run.result:.6g}" if self.row.shows else ""


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


def compare(row: Row, sizes: dict) -> Comparison:
    """The row measured at these sizes: memory of each way in a process of its own, time by turns in a third."""
    try:
        ours, other = (in_own_process(_first_run, row, sizes, way) for way in (0, 1))
        if row.rounds > 1:
            seconds = in_own_process(_turns, row.case, sizes, row.rounds, 2)
            ours = replace(ours, seconds=seconds[0])
            other = other and replace(other, seconds=seconds[1])
    except UsageError as error:  # a package or a licence that is not here
        return Comparison(row, sizes, missing=str(error))
    return Comparison(row, sizes, ours, other)


def grow(growth: Growth, sizes: dict) -> MeasuredGrowth:
    """The growth measured at these sizes, each value of the growing one in a process of its own."""
    (name,) = (name for name, value in sizes.items() if isinstance(value, tuple))
    fixed = {other: value for other, value in sizes.items() if other != name}
    seconds = [
        in_own_process(_turns, growth.case, fixed | {name: value}, growth.rounds, 1)[0]
        for value in sizes[name]
    ]
    return MeasuredGrowth(growth, fixed, name, sizes[name], seconds)


def _first_run(row: Row, sizes: dict, way: int) -> Measurement | None:
    with row.case(**sizes) as works:
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
