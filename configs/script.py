"""How every script starts and ends: logging that leaves progress bars intact, and errors in one line."""

import errno
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from tqdm import tqdm

from configs import processes
from configs.errors import RunError, UsageError

T = TypeVar("T")
log = logging.getLogger(__name__)

OUT_OF_MEMORY = "out of memory; a smaller --batch_size or --img_size needs less, and so do fewer --workers"
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "alloc_failed",
    "bad_alloc",
    "can't start new thread",
)


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main function and exit with its code.

    0; 1 for a failed run; 2 for usage; 130 after Ctrl-C; 141 if nobody reads the output any more (`| head`).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):  # no stream, or an odd one
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # characters it cannot show
    stray = processes.ignore_stray_variables()
    # Of several processes only the main one logs, unless something is wrong.
    level = logging.INFO if processes.is_main() else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", handlers=[Console(sys.stdout)])
    if stray:
        log.warning("%s", stray)
    try:
        main()
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # people press it again
        print("\nInterrupted; the same command does what is left.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _discard_output()
        sys.exit(141)
    except Exception as error:
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    """Exit with one line about an error; an error in the program itself is raised again."""
    print(f"{script_name()}: error: {explained(error)}", file=sys.stderr)
    sys.exit(2 if isinstance(error, UsageError) else 1)


def explained(error: Exception) -> str:
    """What a user is told about an error, in one line; an error in the program itself is raised again."""
    if isinstance(error, UsageError | RunError):
        return one_line(error)
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, OSError):
        return str(error)  # which file, and why
    raise error


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether the machine or a GPU ran out of memory: libraries say so in many ways, some in an error's cause."""
    if error is None:
        return False
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    said = str(error).lower() if isinstance(error, RuntimeError | OSError) else ""
    if any(words in said for words in OUT_OF_MEMORY_WORDS):
        return True
    return is_out_of_memory(error.__cause__ or error.__context__)


def _discard_output() -> None:
    """Discard what is still in buffers, so that Python does not complain when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def progress(iterable: Iterable[T], **options) -> tqdm:
    """The iterable with tqdm's progress bar, which vanishes at the end; on terminals, by the main process only."""
    shown = processes.is_main() and sys.stderr is not None
    hidden = None if shown else True  # None: hidden unless the output is a terminal
    return tqdm(iterable, leave=False, disable=hidden, **options)


@functools.cache
def warn_once(log: logging.Logger, message: str) -> None:
    """Log a warning, unless the same has been logged before."""
    log.warning("%s", message)


def script_name() -> str:
    """The script as the user called it: `main.py`, or `python -m package`."""
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        return Path(sys.argv[0]).name
    return f"python -m {spec.name.removesuffix('.__main__')}"


def one_line(error: Exception) -> str:
    """The error's message without line breaks, and without the traceback of one raised in a loading process."""
    message = str(error).strip()
    if message.startswith("Caught "):
        message = message.rpartition(f"{type(error).__qualname__}: ")[2]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)


class Console(logging.StreamHandler):
    """A console that writes log lines above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            tqdm.write(self.format(record), file=self.stream)
            self.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Called while an exception is handled; ends the script if the console is gone, which `logging` would not."""
        if isinstance(sys.exc_info()[1], OSError):
            raise
        super().handleError(record)


class LogFile(logging.FileHandler):
    """A log file; if it can no longer be written, the run ends with one line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Called while an exception is handled; `logging` would print it and go on."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        raise RunError(f"cannot write {self.baseFilename}: {error.strerror or error}") from error


def log_to(path: Path) -> None:
    """Also write the log to a file, with the time of every line; RunError if the file cannot be written."""
    try:
        handler = LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
