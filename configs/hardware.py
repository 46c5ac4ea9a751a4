"""Where the computation runs: device, memory layout, precision and loading workers, chosen from the machine."""

import ctypes
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from configs import processes
from configs.errors import UsageError, reason

M = TypeVar("M", bound=torch.nn.Module)
PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("cpu", "cuda", "mps")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # names of options in glibc's malloc.h
UNKNOWN_MEMORY = 2**32  # bytes assumed where the system does not say, as on Windows


@dataclass(frozen=True)
class Hardware:
    """Device, number of loading processes, and the precision of the network in training."""

    device: torch.device  # where the network is
    workers: int  # processes that load images; 0: the training process itself does
    training_dtype: torch.dtype = torch.float32  # of convolutions in training; float32 or bfloat16

    @classmethod
    def choose(cls, device: str = "auto", workers: int | None = None, precision: str = "auto") -> "Hardware":
        """The requested device, workers and precision.

        By default a GPU if there is one (each process of a run its own), a worker per spare core up to 8, and bfloat16
        in training on GPUs that compute in it.

        Raises:
            UsageError: if there is no such device, or not here.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda":
            device = f"cuda:{processes.local_rank()}"
        if device.partition(":")[0] not in DEVICES:
            raise UsageError(f"--device {device}: choose one of auto, {', '.join(DEVICES)}")
        try:
            chosen = torch.device(device)
            torch.empty(1, device=chosen)
        except (RuntimeError, AssertionError) as error:
            why = reason(error).partition(". ")[0]  # PyTorch goes on about its builds
            raise UsageError(f"--device {device} cannot be used here: {why}") from None
        on_gpu = chosen.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(chosen)
            torch.backends.cudnn.benchmark = True  # all batches have one shape
            # Otherwise convolutions have 10 bits of mantissa in single precision, and so do features and results.
            torch.backends.cudnn.allow_tf32 = False
        if workers is None:
            # On a CPU the training itself needs the cores; loading in the same process is fastest.
            spare = (os.cpu_count() or 1) // processes.local_count() - 2
            workers = min(8, max(0, spare)) if on_gpu else 0
        if precision == "auto":
            # On CPUs, bfloat16 is faster or slower depending on the processor (benchmarks/RESULTS.md).
            native = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
            precision = "bf16" if native else "fp32"
        return cls(chosen, workers, torch.bfloat16 if precision == "bf16" else torch.float32)

    @property
    def sum_dtype(self) -> torch.dtype:
        """Precision of long sums on the device: float64, which Apple's GPUs lack."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    @property
    def workers_share_memory(self) -> bool:
        """Whether loading processes see what this process holds in memory when they start, without a copy."""
        return self.workers > 0 and sys.platform == "linux"

    def to_device(self, images: Tensor) -> Tensor:
        """Images on the device, channels last, which makes convolutions faster on CPUs and GPUs."""
        return images.to(self.device, non_blocking=True, memory_format=torch.channels_last)

    def place(self, model: M) -> M:
        """A model on the device, channels last."""
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def keep_freed_memory(self) -> None:
        """On a CPU, let each training step reuse the memory of the step before, if the C library is glibc.

        By default, glibc returns large freed blocks to the system. A step frees gigabytes, and the next one would get
        them back page by page, each zeroed first: a tenth to a fifth of its time. The process stays as large as its
        largest step, and some 15 % larger than that step needs.
        """
        if self.device.type == "cpu" and sys.platform == "linux":
            library = ctypes.CDLL(None)
            if hasattr(library, "mallopt"):
                library.mallopt(M_MMAP_MAX, 0)
                library.mallopt(M_TRIM_THRESHOLD, -1)

    def mixed_precision(self) -> AbstractContextManager:
        """A context in which a network that is trained computes its convolutions in the training precision."""
        reduced = self.training_dtype != torch.float32
        return torch.autocast(self.device.type, self.training_dtype, enabled=reduced)


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    if not hasattr(os, "sysconf"):
        return UNKNOWN_MEMORY
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
