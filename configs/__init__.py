"""What every script needs first: settings, the command line, the run folder, the machine.

Importing takes seconds. Ctrl-C during that time gives one line, as later, and so do packages that are missing or do not
fit. Figures go to files, so $MPLBACKEND and the user's matplotlibrc are ignored: if the backend is not installed, or
the file is not UTF-8, matplotlib refuses to be imported. Without a working directory, libraries would end the process
with messages of their own.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  started without installation
    sys.exit(f"error: Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}")


def _report(kind: type, error: BaseException, trace) -> None:
    pip = f"{sys.executable} -m pip install"
    remedy = f"run {pip} -r requirements.txt, or start the Python that has them"
    if kind is KeyboardInterrupt:
        said = "\nInterrupted."
    elif isinstance(error, ModuleNotFoundError):
        said = f"error: the package {error.name} is not installed here: {remedy}"
    elif isinstance(error, ImportError):
        said = f"error: a package does not fit here ({' '.join(str(error).split())}): {remedy}"
    elif "torchvision::" in str(error):  # an operator that torch does not know
        said = (
            "error: torch and torchvision do not match: their releases, or one is for CPUs and the other for GPUs; "
            f"install both from one place: {pip} --force-reinstall torch torchvision"
        )
    else:
        sys.__excepthook__(kind, error, trace)
        return
    print(said, file=sys.stderr)


if not hasattr(sys, "ps1"):  # not in an interactive interpreter
    sys.excepthook = _report
os.environ.pop("MPLBACKEND", None)
os.environ["MATPLOTLIBRC"] = os.devnull
try:
    os.getcwd()
except OSError as error:
    sys.exit(f"error: the working directory cannot be used ({error.strerror}); change to another one")
