"""main.py in real processes that are killed, stopped, interrupted or left without disk space at any event of a run.

Importing torch takes seconds, so one launcher process (this file as a script) imports everything once, computes nothing
and forks a child per run. Events are writes (a temporary file created, written, put in place), removals, optimiser
steps, forward passes and log lines. Their names hold what was finished before, so they are the same in a run that goes
on after a kill.
"""

import csv
import fcntl
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
# Runs that are compared may not depend on the speed of the machine: no search ends because of the time.
UNTIMED = {"selection_seconds": 10**6, "certificate": 0}
FEW_STRENGTHS = 20  # on the paths of Q-SENN and SLDD-Model, where the path is not the point
FLAGS = {
    "dataset": "CUB2011",
    "arch": "resnet18",
    "weights": "none",
    "img_size": 32,
    "n_features": 8,
    "n_per_class": 3,
    "redundancy_threshold": 0.5,  # not searched for
    "schedule_scale": 0.04,
    "batch_size": 8,
    "device": "cpu",
    "seed": 1,
    **UNTIMED,
}


def tiny_run(**changes) -> list[str]:
    """The flags of a run that takes a second or two on a narrow network."""
    pairs = {**FLAGS, **changes}.items()
    return [word for name, value in pairs for word in (f"--{name}", str(value))]


NOT_RESULTS = ("config.json", "log.txt", ".lock")  # they tell when and how
WATCHED = ("metrics.csv", "training.png")  # written beside what a run makes


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int | None  # exit code; minus the signal for a killed run, None for a stopped one
    events: list[str]  # names of its events
    errors: str  # what it wrote to stderr
    output: str  # what it wrote to stdout


class Launcher:
    """Runs main.py in forked processes on the data in `FOLDER/data`."""

    def __init__(self, folder: Path):
        self.folder = folder
        settings = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYTHONPATH": str(REPOSITORY)}
        settings["XDG_CACHE_HOME"] = os.devnull  # events are those of the run folder
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=REPOSITORY,
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, runs, *flags: str, do: str = "nothing", at: Iterable[str] = ()) -> Ended:
        """Run main.py until it ends or is stopped; arguments as in `start`."""
        return self.wait(self.start(runs, *flags, do=do, at=at))

    def start(self, runs, *flags: str, do: str = "nothing", at: Iterable[str] = ()) -> int:
        """Start main.py and return the process.

        Args:
            runs: its `--log_dir`, below the launcher's folder unless absolute.
            flags: further ones.
            do: what happens to it at the first of some events: a key of `ACTIONS`.
            at: names of the events.
        """
        argv = tiny_run(data_root=self.folder / "data", log_dir=self.folder / runs)
        return self._ask({"argv": [*argv, *flags], "do": do, "at": list(at)})

    def wait(self, process: int) -> Ended:
        """How a started run has ended or been stopped."""
        code, events, errors, output = self._ask({"wait": process})
        return Ended(code, events.splitlines(), errors.strip(), output)

    def run_folder(self, runs) -> Path:
        """Where the results are."""
        return self.folder / runs / "resnet18" / "CUB2011_crop" / "1"

    def results(self, runs) -> dict[str, bytes | dict]:
        """All that a run left in its folder, by file name: leftovers, too."""
        folder = self.run_folder(runs)
        files = [p for p in folder.rglob("*") if p.is_file() and p.name not in NOT_RESULTS]
        found = {str(p.relative_to(folder)): p.read_bytes() for p in files}
        metrics = list(csv.DictReader(found["metrics.csv"].decode().splitlines()))
        for row in metrics:
            del row["images_per_second"], row["memory_mb"]
        manifest = json.loads(found["manifest.json"])
        return {**found, "manifest.json": manifest, "metrics.csv": metrics}

    def close(self) -> None:
        """End the launcher and every process it has left."""
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, request: dict):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def send(number: int) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def limit_files() -> None:
    """Let every write of this process to a file fail, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def kill_while_writing() -> None:
    """Let the next write of this process to a file kill it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


def fill_disk() -> None:
    """Fill the file system that the run writes to; only for tiny ones."""
    folder = Path(sys.argv[sys.argv.index("--log_dir") + 1])
    status = os.statvfs(folder)
    assert status.f_frsize * status.f_blocks < 2**26
    with suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


ACTIONS = {
    "nothing": lambda: None,
    "kill": partial(send, signal.SIGKILL),
    "stop": partial(send, signal.SIGSTOP),
    "interrupt": partial(send, signal.SIGINT),
    "kill while writing": kill_while_writing,
    "limit files": limit_files,
    "fill disk": fill_disk,
}


class Watch:
    """Names the events of this process, reports them to a pipe, and acts at the first one asked for."""

    def __init__(self, request: dict, pipe: int):
        self.at, self.pipe = set(request["at"]), pipe
        self.do: Any = ACTIONS[request["do"]]
        self.finished = "nothing"  # the file that was put in place last, the manifest apart
        self.writing = ""
        self.steps = 0

    def happened(self, name: str) -> None:
        """Report an event; this may be the last thing the process does."""
        os.write(self.pipe, f"{name}\n".encode())
        if name in self.at:
            self.at = set()
            self.do()

    def begin(self) -> None:
        """Hook into what every run does, whatever its code looks like."""
        import torch
        from torch.nn.modules.module import register_module_forward_hook
        from torch.optim.optimizer import register_optimizer_step_post_hook

        from architectures.classifier import ModelOutput

        def forward(module, inputs, output) -> None:
            if isinstance(output, ModelOutput) and not torch.is_grad_enabled():
                self.happened(f"forward after {self.finished}")

        register_module_forward_hook(forward)
        register_optimizer_step_post_hook(self.stepped)
        hook(tempfile, "mkstemp", self.created)
        hook(os, "fsync", lambda *_: self.happened(f"written {self.writing}"))
        hook(os, "replace", self.replaced)
        hook(os, "unlink", self.removed)
        hook(logging.Logger, "handle", self.logged)

    def stepped(self, *_) -> None:
        self.steps += 1
        self.happened(f"step {self.steps} after {self.finished}")

    def created(self, result, *_) -> None:
        self.writing = self.name(result[1])
        self.happened(f"created {self.writing}")

    def replaced(self, _, source, target) -> None:
        target = Path(target)
        if target.name not in ("manifest.json", *WATCHED):
            begins = target.name in ("config.json", "images.csv")
            self.finished = last_finished(target.parent) if begins else target.name
            self.steps = 0
        self.happened(f"replaced {self.name(target)}")

    def removed(self, _, path, *more) -> None:
        if not Path(path).name.startswith("."):
            self.happened(f"removed {self.name(path)}")

    def logged(self, _, logger, record) -> None:
        self.happened(f"log {record.msg!r:.40}")

    def name(self, path) -> str:
        """What a file is called in events; a temporary one like the file it is to become."""
        name = Path(path).name
        while name.startswith(".writing-"):
            name = re.sub(r"^\.writing-(.+)-\w{8}", r"\1", name)
        return f"{name} after {self.finished}" if name == "manifest.json" else name


def hook(owner, name: str, after) -> None:
    """Call `after` with the result and the arguments of every call of a function that succeeds."""
    original = getattr(owner, name)

    def hooked(*arguments, **options):
        result = original(*arguments, **options)
        after(result, *arguments)
        return result

    setattr(owner, name, hooked)


def last_finished(folder: Path) -> str:
    """What an earlier process put in place last."""
    listed = []
    with suppress(OSError, ValueError):
        listed = list(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    partial = [p.name for p in folder.glob("*.partial") if f"{p.stem}.pth" not in listed]
    return [*listed, *partial][-1] if listed or partial else "nothing"


def narrow_layout() -> tuple:
    """For `resnet.LAYOUTS`: a ResNet-18 with a sixteenth of the channels and half of the blocks, to save time."""
    from torchvision.models.resnet import BasicBlock

    class Sixteenth(int):
        def __rmul__(self, channels):
            return channels // 16

    class NarrowBlock(BasicBlock):
        expansion = Sixteenth()

        def __init__(self, inplanes, planes, *more, **options):
            super().__init__(inplanes, planes * self.expansion, *more, **options)

    return NarrowBlock, (1, 1, 1, 1)


def save_points(figure, path, **_) -> None:
    """In place of `Figure.savefig`: what the lines show, whose pixels take half of the time of such a run."""
    lines = [line for axes in figure.axes for line in axes.lines]
    points = (line.get_xydata().tobytes() for line in lines)
    Path(path).write_bytes(b"points".join((b"", *points, b"")))


class Child:
    """A forked process that is main.py; what it says arrives in pipes, which no limit of files concerns."""

    def __init__(self, request: dict):
        pipes = [os.pipe() for _ in range(3)]  # events, errors, output
        self.said = [b"", b"", b""]
        self.process = os.fork()
        if self.process == 0:
            self._be_main(request, *(write for _, write in pipes))
        self._pipes = [read for read, _ in pipes]
        for read, write in pipes:
            os.close(write)
            fcntl.fcntl(read, fcntl.F_SETFL, os.O_NONBLOCK)

    @staticmethod
    def _be_main(request: dict, events: int, errors: int, output: int) -> None:
        import main
        from configs.script import run_script

        os.dup2(errors, 2)
        os.dup2(output, 1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(600)  # so that no mistake in a test waits for ever
        sys.argv = ["main.py", *request["argv"]]
        Watch(request, events).begin()
        code = 0
        try:
            run_script(main.main)
        except SystemExit as stop:
            code = int(stop.code)
        except BaseException:
            traceback.print_exc()
            code = 1
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # taking torch apart in every child takes longer than what it has done

    def wait(self) -> list:
        """Exit code, minus a signal, or None if stopped; and all it said: events, errors, output."""
        _, status = os.waitpid(self.process, os.WUNTRACED)
        for i, pipe in enumerate(self._pipes):
            with suppress(BlockingIOError):
                while part := os.read(pipe, 2**16):
                    self.said[i] += part
        code = None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
        if code is not None:
            for pipe in self._pipes:
                os.close(pipe)
        return [code, *(text.decode() for text in self.said)]


def launch() -> None:
    """Answer requests, one JSON line each, until there are no more."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import sklearn.cluster  # noqa: F401
    from matplotlib.figure import Figure

    import main  # noqa: F401
    from architectures.backbones import resnet
    from sparsification.glm import path

    resnet.LAYOUTS["resnet18"] = narrow_layout()
    path.N_STRENGTHS = FEW_STRENGTHS
    Figure.savefig = save_points  # type: ignore[method-assign, assignment]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    children: dict[int, Child] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any
        if "wait" in request:
            answer = children[request["wait"]].wait()
            if answer[0] is not None:
                del children[request["wait"]]
        else:
            child = Child(request)
            answer = child.process
            children[answer] = child
        print(json.dumps(answer), file=answers, flush=True)
    for process in children:
        os.kill(process, signal.SIGKILL)
    os._exit(0)  # as in a child


if __name__ == "__main__":
    launch()
