"""One run in several processes, as `torchrun` starts them: who is here, what they agree on, what they share out.

Without `torchrun` there is one process, and nothing here does anything. The main process alone writes files and logs;
all processes see the same run folder.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")

# While the main process selects features, calibrates or evaluates.
LONGEST_WAIT = timedelta(hours=12)


def count() -> int:
    """How many processes this run has."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """The number of this process on its machine, from 0: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def local_count() -> int:
    """How many processes of this run are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def join(device: torch.device) -> None:
    """Connect the processes of this run: NCCL between GPUs, gloo between CPUs and for plain objects."""
    if count() > 1 and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=LONGEST_WAIT)


def leave() -> None:
    """Disconnect, after the last common step."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def agreed(compute: Callable[[], T]) -> T:
    """What `compute` returns in the main process, the only one that calls it, in all processes."""
    result = [compute() if is_main() else None]
    if count() > 1:
        distributed.broadcast_object_list(result)
    return result[0]


def gathered(own: T) -> list[T]:
    """What every process brought, by rank, in all processes."""
    everyone = [own] * count()
    if count() > 1:
        distributed.all_gather_object(everyone, own)
    return everyone
