"""Where the computation runs: device, memory layout and loading workers, chosen from the machine."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from configs.errors import UsageError


@dataclass(frozen=True)
class Hardware:
    """Device and number of loading processes."""

    device: torch.device
    workers: int

    @classmethod
    def choose(cls, device: str = "auto", workers: int | None = None) -> "Hardware":
        """The asked device and workers; by default a GPU if there is one, and a worker per spare core up to 8.

        Raises:
            UsageError: if the device does not exist here.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            chosen = torch.device(device)
            torch.empty(1, device=chosen)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"--device {device} cannot be used here: {reason}") from None
        if workers is None:
            # On a CPU the training itself needs the cores; loading in the same process is fastest.
            workers = min(8, max(0, (os.cpu_count() or 1) - 2)) if chosen.type != "cpu" else 0
        return cls(chosen, workers)

    def loader_options(self) -> dict:
        """Keyword arguments for a DataLoader."""
        return {"num_workers": self.workers, "pin_memory": self.device.type == "cuda"}

    def to_device(self, images: Tensor) -> Tensor:
        """Images on the device, channels last: convolutions are faster so on CPUs and GPUs."""
        return images.to(self.device, non_blocking=True, memory_format=torch.channels_last)

    def place(self, model: torch.nn.Module) -> torch.nn.Module:
        """A model on the device, channels last."""
        return model.to(self.device, memory_format=torch.channels_last)
