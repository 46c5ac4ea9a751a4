"""What a model was made from, inside the model's own file.

A model file is a zip archive of tensors. `torch.load` reads these and ignores one more entry, `card.json`, which holds
the settings, the names of the classes, the transform and the fingerprints of the images. So a model and its description
are replaced in one step, at whatever moment a run is killed, and a copied file brings its card along.
"""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

ENTRY = "card.json"


@dataclass(frozen=True)
class ModelCard:
    """The description of a model."""

    settings: dict  # by name, as built-in values; without those of the machine and the folders
    data: dict  # classes and transform, as `dataset_classes.description.DataDescription` writes them
    images: dict  # fingerprints of `train` and `test` images, and the SHA-256 of the run's list of them

    def add_to(self, path: Path) -> None:
        """Add the card to a file of tensors; equal content gives equal bytes. OSError if it cannot be written."""
        with zipfile.ZipFile(path, "a") as archive:
            root = archive.namelist()[0].partition("/")[0]  # torch.load wants one root for all entries
            archive.writestr(zipfile.ZipInfo(f"{root}/{ENTRY}"), json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The card in a model file; None if it has none, as downloaded models."""
        try:
            with zipfile.ZipFile(path) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith(f"/{ENTRY}"))
                card = cls(**json.loads(archive.read(name)))
        except Exception:  # a file that is damaged, or not ours, may hold anything
            return None
        return card if all(isinstance(part, dict) for part in vars(card).values()) else None
