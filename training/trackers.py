"""Other places to follow a training: TensorBoard, or Weights & Biases offline (`--track`); both are optional.

A tracker is told all rows of a stage when the stage begins or goes on, and forgets what it had of it. So it shows what
`metrics.csv` shows, whenever a training was killed.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from configs import processes
from configs.errors import UsageError

POSITION = ("epoch", "step")  # of a row: no measurements


class Tracker(Protocol):
    """What a training tells its rows to."""

    def begin(self, stage: str, rows: list[dict]) -> None:
        """Forget what is kept of a stage, and take these rows in its place."""

    def add(self, rows: list[dict]) -> None:
        """Take further rows of the stage that has begun."""


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
    """The tracker of a name, None without one and beside the main process; UsageError if its package is missing."""
    if name is None or not processes.is_main():
        return None
    try:
        return TRACKERS[name](folder)
    except ImportError:
        raise UsageError(f"--track {name} needs a package: pip install {name}") from None


def epochs(rows: list[dict]) -> Iterator[dict[str, float]]:
    """The numbers of the rows of whole epochs, by name."""
    for row in rows:
        if row["kind"] == "epoch":
            yield {k: v for k, v in row.items() if isinstance(v, int | float) and k not in POSITION}
