"""Clock of a solver: when to stop, and what to tell those who wait."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 1.0


class Progress:
    """Elapsed time and limit of one solver run, with a log line per second.

    Args:
        solver: name in the log lines.
        time_limit: seconds until `expired`.
        seed: named in the log lines.
        on_improvement: called with (seconds, objective) at every new best selection.
    """

    def __init__(
        self,
        solver: str,
        time_limit: float,
        seed: int,
        on_improvement: Callable[[float, float], None] | None = None,
    ):
        self.solver, self.seed, self.time_limit = solver, seed, time_limit
        self.on_improvement = on_improvement
        self.best = -float("inf")
        self.start = self._last_line = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def expired(self) -> bool:
        """Whether the time limit has passed."""
        return self.elapsed > self.time_limit

    def improved(self, objective: float) -> None:
        """Note a new best objective."""
        self.best = objective
        if self.on_improvement is not None:
            self.on_improvement(self.elapsed, objective)

    def report(self, current: float) -> None:
        """Log the current and the best objective, at most once per second."""
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            logger.info(
                "%s: objective %.3f, best %.3f, %.0f s, seed %s",
                self.solver,
                current,
                self.best,
                self.elapsed,
                self.seed,
            )
