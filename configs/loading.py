"""Batches of a dataset from loading processes, or from the main process where those cannot send them.

PyTorch's loading processes send images through shared memory. Where that runs out (containers often have 64 MB of it),
they print tracebacks and send nothing, and the main process waits forever. So they check before they send, and the main
process loads the rest itself. Augmentation is seeded per image, so the batches are the same.
"""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data import default_collate as stacked

from configs.errors import RunError
from configs.hardware import Hardware
from configs.script import one_line, warn_once

log = logging.getLogger(__name__)

SHARED_MEMORY = "/dev/shm"
# A user who asks for more --workers than there are cores may have a slow disk.
warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)


class NoSharedMemoryError(RunError):
    """A loading process cannot send its batch."""


class Batches:
    """Batches of a dataset in a given order.

    Args:
        batches: the indices of every batch.
        hardware: number of loading processes and how they start.
    """

    def __init__(self, dataset: Dataset, batches: Sequence[list[int]], hardware: Hardware, collate: Callable = stacked):
        self._dataset, self._batches, self._hardware = dataset, batches, hardware
        self._collate = collate

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator:
        sent = 0
        if workers := min(self._hardware.workers, len(self)):  # more would have nothing to do
            try:
                for batch in self._loader(0, workers):
                    yield batch
                    sent += 1
            except (NoSharedMemoryError, OSError, RuntimeError) as error:
                if not _concerns_processes(error):
                    raise
                error.__traceback__ = None  # it would keep the loader alive, which later forks fail to shut down
                warn_once(
                    log,
                    f"Loading processes do not work here ({one_line(error)}): the main process loads the images, as "
                    "with --workers 0.",
                )
        if sent < len(self):
            yield from self._loader(sent, 0)

    def _loader(self, first: int, workers: int) -> DataLoader:
        options: dict[str, Any] = {}
        if workers:
            options = {"worker_init_fn": leave_interrupts_to_the_main_process}
            if self._hardware.workers_share_memory:
                options["multiprocessing_context"] = "fork"  # no default from Python 3.14 on
        return DataLoader(
            self._dataset,
            batch_sampler=list(self._batches[first:]),
            num_workers=workers,
            pin_memory=self._hardware.device.type == "cuda",
            collate_fn=SendableBatch(self._collate, workers),
            **options,
        )


class SendableBatch:
    """Collates batches, and checks that there is room for one before it is sent."""

    def __init__(self, collate: Callable, workers: int):
        self._collate, self._workers = collate, workers

    def __call__(self, items: list):
        """The batch; NoSharedMemoryError if not all loading processes could send one like it at once."""
        try:
            batch = self._collate(items)
        except RuntimeError as error:  # PyTorch stacks images right in shared memory
            if not _about_shared_memory(error):
                raise
            raise NoSharedMemoryError(f"{SHARED_MEMORY} is full") from error
        if get_worker_info() is not None and sys.platform == "linux":
            needed, free = self._workers * n_bytes(batch), free_shared_memory()
            if needed > free:
                raise NoSharedMemoryError(
                    f"{SHARED_MEMORY} has {free / 1e6:.1f} MB left, {needed / 1e6:.1f} MB are needed"
                )
        return batch


def n_bytes(batch) -> int:
    """Size of all tensors of a batch."""
    if isinstance(batch, Tensor):
        return batch.nbytes
    return sum(map(n_bytes, batch)) if isinstance(batch, list | tuple) else 0


def free_shared_memory() -> int:
    """Bytes of free shared memory; 0 if its file system is missing or not writable."""
    if not hasattr(os, "statvfs"):  # Windows, where the system shares its memory
        return sys.maxsize
    try:
        status = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize if os.access(SHARED_MEMORY, os.W_OK) else 0


def leave_interrupts_to_the_main_process(_: int) -> None:
    """Ctrl-C reaches all processes in a terminal; the main one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _concerns_processes(error: Exception) -> bool:
    """Whether an error is about loading processes (their start, memory or end), not about what they load."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker") or _about_shared_memory(error)
    return isinstance(error, NoSharedMemoryError | OSError)


def _about_shared_memory(error: RuntimeError) -> bool:
    return "shared memory" in str(error) or "</torch_" in str(error)
