"""How every script starts and ends: logging that gets along with progress bars, and errors in one line."""

import functools
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from configs import processes
from configs.errors import RunError, UsageError

T = TypeVar("T")


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main function and leave with its exit code: 0, 1 for a failed run, 2 for usage."""
    # Of several processes the main one speaks; the others only when something is wrong.
    level = logging.INFO if processes.is_main() else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
    try:
        with logging_redirect_tqdm():
            main()
    except (UsageError, RunError) as error:
        print(f"{script_name()}: error: {one_line(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def progress(iterable: Iterable[T], **options) -> tqdm:
    """The iterable under a progress bar, which goes when it ends; shown on terminals, by the main process only.

    Args:
        iterable: what is gone through.
        options: of `tqdm`, such as `desc` and `unit`.
    """
    hidden = None if processes.is_main() else True  # None: where the output is no terminal
    return tqdm(iterable, leave=False, disable=hidden, **options)


@functools.cache
def warn_once(log: logging.Logger, message: str, *values) -> None:
    """Log a warning, unless the same has been logged before."""
    log.warning(message, *values)


def script_name() -> str:
    """The script as the user called it: `main.py`, or `python -m package`."""
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        return Path(sys.argv[0]).name
    return f"python -m {spec.name.removesuffix('.__main__')}"


def one_line(error: UsageError | RunError) -> str:
    """The error's message; one raised in a loading process arrives with that process's traceback before it."""
    *traceback, message = str(error).strip().splitlines() or [""]
    kind = f"{type(error).__module__}.{type(error).__qualname__}: "
    return message.removeprefix(kind) if traceback else message


class LogFile(logging.FileHandler):
    """A log file; where it cannot be written any more, the run ends with one line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Called while an exception is handled; `logging` would print it and go on."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        raise RunError(f"cannot write {self.baseFilename}: {error.strerror or error}") from error


def log_to(path: Path) -> None:
    """Also write the log to a file, with the time of every line.

    Raises:
        RunError: if the file cannot be written.
    """
    try:
        handler = LogFile(path, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
