"""What every script needs first: settings, the command line, the run folder, the machine.

Importing takes seconds. Ctrl-C in that time is one line as later, and figures go to files, so a plot backend that the
environment names, and a user's matplotlibrc, are left alone: where the one is not installed or the other is not UTF-8,
matplotlib refuses to be imported. Where there is no working directory, libraries would end the process in words of
their own.
"""

import os
import sys


def _report(kind: type, error: BaseException, trace) -> None:
    if kind is KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if not hasattr(sys, "ps1"):  # not in an interactive interpreter
    sys.excepthook = _report
os.environ.pop("MPLBACKEND", None)
os.environ["MATPLOTLIBRC"] = os.devnull
try:
    os.getcwd()
except OSError as error:
    sys.exit(f"error: the working directory cannot be used ({error.strerror}); change to another one")
