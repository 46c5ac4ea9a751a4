"""Trackers for a training: TensorBoard, or Weights & Biases offline (`--track`); both are optional.

When a stage begins or resumes, a tracker gets all its rows in place of those it had. So it shows the same as
`metrics.csv`, whenever a training was killed.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from configs import processes
from configs.errors import UsageError

POSITION = ("epoch", "step")  # columns that are not measurements


class Tracker(Protocol):
    """Receives the rows of a training."""

    def begin(self, stage: str, rows: list[dict]) -> None:
        """Replace everything recorded for a stage by these rows."""

    def add(self, rows: list[dict]) -> None:
        """Record further rows of the current stage."""


class TensorBoard:
    """Events in `RUN/tensorboard/STAGE`, for `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        self._folder, self._open = folder / "tensorboard", SummaryWriter

    def begin(self, stage: str, rows: list[dict]) -> None:
        """As `Tracker`."""
        shutil.rmtree(self._folder / stage, ignore_errors=True)
        self._writer = self._open(str(self._folder / stage))
        self._epochs = 0
        self.add(rows)

    def add(self, rows: list[dict]) -> None:
        """As `Tracker`."""
        for values in epochs(rows):
            self._epochs += 1
            for name, value in values.items():
                self._writer.add_scalar(name, value, self._epochs)
        self._writer.flush()


class WeightsAndBiases:
    """An offline run in `RUN/wandb/STAGE`, for `wandb sync`; nothing is sent."""

    def __init__(self, folder: Path):
        import wandb

        self._wandb, self._folder = wandb, folder / "wandb"
        self._run: Any = None

    def begin(self, stage: str, rows: list[dict]) -> None:
        """As `Tracker`."""
        if self._run is not None:
            self._run.finish()
        own = self._folder / stage
        shutil.rmtree(own, ignore_errors=True)
        os.makedirs(own)
        self._run = self._wandb.init(
            project="chiqpm",
            name=f"{self._folder.parent.name} {stage}",
            dir=str(own),
            mode="offline",
            settings=self._wandb.Settings(silent=True, console="off"),
        )
        self.add(rows)

    def add(self, rows: list[dict]) -> None:
        """As `Tracker`."""
        for values in epochs(rows):
            self._run.log(values)


TRACKERS: dict[str, Callable[[Path], Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def make_tracker(name: str | None, folder: Path) -> Tracker | None:
    """The tracker with this name; None without one or outside the main process; UsageError without its package."""
    if name is None or not processes.is_main():
        return None
    try:
        return TRACKERS[name](folder)
    except ImportError:
        raise UsageError(f"--track {name} needs a package: pip install {name}") from None


def epochs(rows: list[dict]) -> Iterator[dict[str, float]]:
    """The numbers, by name, of the rows about whole epochs."""
    for row in rows:
        if row["kind"] == "epoch":
            yield {k: v for k, v in row.items() if isinstance(v, int | float) and k not in POSITION}
