"""One run in several processes, as `torchrun` starts them: their number, and what they send each other.

Without `torchrun` there is one process, and nothing here has any effect. Only the main process writes files and logs;
all processes see the same run folder. torch is imported only if there are several processes: it takes seconds.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from configs.errors import RunError, reason

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

# Variables that torchrun sets; other programs set some of them too, but not the first.
TORCHRUN_VARIABLES = (
    "TORCHELASTIC_RUN_ID",
    "MASTER_ADDR",
    "MASTER_PORT",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
)

# Timeout of the others while the main process selects features, calibrates or evaluates.
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


def ignore_stray_variables() -> str | None:
    """Remove the variables of `torchrun` from the environment if it did not start this process.

    Cluster schedulers and notebooks set some of them. Returns a line about it, or None if there were none.
    """
    if all(os.environ.get(name) for name in TORCHRUN_VARIABLES):
        return None
    stray = [name for name in TORCHRUN_VARIABLES[1:] if os.environ.pop(name, None) is not None]
    if not stray:
        return None
    return f"{', '.join(stray)} without torchrun: ignored, this run has one process (several: torchrun main.py ...)"


def join(device: "torch.device") -> None:
    """Connect the processes of this run: NCCL between GPUs, gloo between CPUs and for Python objects.

    Raises:
        RunError: if they do not find each other.
    """
    if count() == 1:
        return
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        if not distributed.is_initialized():
            distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    except (ValueError, RuntimeError) as error:
        raise RunError(f"the processes that torchrun started do not find each other: {reason(error)}") from error


def leave() -> None:
    """Disconnect, after the last common step."""
    if count() > 1:
        from torch import distributed

        distributed.destroy_process_group()


def broadcast(compute: Callable[[], T]) -> T:
    """The result of `compute`, which only the main process calls, in all processes."""
    if count() == 1:
        return compute()
    from torch import distributed

    result = [compute() if is_main() else None]
    distributed.broadcast_object_list(result)
    return result[0]


def all_gather(own: T) -> list[T]:
    """The objects of all processes, by rank, in every process."""
    everyone = [own] * count()
    if count() > 1:
        from torch import distributed

        distributed.all_gather_object(everyone, own)
    return everyone
