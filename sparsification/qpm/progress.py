"""Clock of a solver: when to stop, and what to log in the meantime."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


class Stopwatch:
    """Seconds of computing time since its creation, not counting time in which other programs had the processor.

    So a time limit allows the same search on a busy machine as on an idle one. Threads are not added up: it never runs
    faster than the wall clock.
    """

    def __init__(self):
        self._start = time.monotonic(), time.process_time()

    @property
    def elapsed(self) -> float:
        """Seconds of computing so far."""
        clock, computing = self._start
        return min(time.monotonic() - clock, time.process_time() - computing)

    def on_clock(self, seconds: float) -> float:
        """Wall-clock seconds that this much computing takes if the machine stays as busy, for external solvers."""
        return seconds * (1 + time.monotonic() - self._start[0]) / (1 + self.elapsed)


class Progress(Stopwatch):
    """Elapsed time and limit of one solver run, with a log line every ten seconds of computing.

    As a context manager, it lets the first Ctrl-C end the run early instead of raising; a second one raises.

    Args:
        time_limit: seconds of computing until `expired`.
        on_improvement: called with (seconds, objective) at every new best selection.
    """

    def __init__(
        self, solver: str, time_limit: float, seed: int, on_improvement: Callable[[float, float], None] | None = None
    ):
        super().__init__()
        self.solver, self.seed, self.time_limit = solver, seed, time_limit
        self.on_improvement = on_improvement
        self._last_line = 0.0

    def __enter__(self) -> "Progress":
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:  # no other thread may handle signals
            self._previous_handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exception) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGINT, self._previous_handler)

    def _interrupt(self, *_) -> None:
        log.warning("%s: interrupted, taking the best so far", self.solver)
        self.time_limit = 0.0
        signal.signal(signal.SIGINT, self._previous_handler)

    @property
    def expired(self) -> bool:
        """Whether the time limit has passed."""
        return self.spent(1.0)

    def spent(self, share: float) -> bool:
        """Whether this share of the time limit has passed."""
        return self.elapsed > share * self.time_limit

    @property
    def left_on_clock(self) -> float:
        """Wall-clock seconds until the time limit, approximately."""
        return self.on_clock(max(self.time_limit - self.elapsed, 0.0))

    def improved(self, objective: float) -> None:
        """Report a new best objective to `on_improvement`."""
        if self.on_improvement is not None:
            self.on_improvement(self.elapsed, objective)

    def report(self, state: str) -> None:
        """Log the state of the solver, at most once every ten seconds of computing."""
        now = self.elapsed
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            log.info("%s: %s, %.0f s, seed %s", self.solver, state, now, self.seed)


def describe_search(value: float, best: float) -> str:
    """The approximate values of a set and of the best one so far, before classes are assigned exactly."""
    so_far = f", best so far {best:.3f}" if math.isfinite(best) else ""
    return f"tries a set worth about {value:.3f}{so_far}"
