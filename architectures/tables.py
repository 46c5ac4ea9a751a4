"""Dataclasses of tensors that a stage saves in a file for the next one."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import torch


@dataclass(frozen=True)
class TensorTable:
    """Base of dataclasses whose fields are CPU tensors or None: saved as `.npz`, without pickles."""

    def save(self, path: Path) -> None:
        """Write all tensors to an `.npz` file."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        np.savez(path, **{name: t.numpy() for name, t in tensors.items() if t is not None})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            known = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        return cls(**{f.name: known.get(f.name) for f in fields(cls)})
