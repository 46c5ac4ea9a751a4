"""Scripts as the command line runs them, in this process."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from configs.script import run_script


def call(script, *words) -> None:
    """Run a script's main function on some arguments; its errors are raised."""
    with _typed(script, words):
        script.main()


def exit_code(script, *words) -> int:
    """The exit code of a script on some arguments."""
    with _typed(script, words):
        try:
            run_script(script.main)
        except SystemExit as stop:
            return int(stop.code)
    return 0


@contextmanager
def _typed(script, words) -> Iterator[None]:
    """What the script finds to be its command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, words)])
        yield
