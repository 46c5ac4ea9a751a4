"""What a model was made of, inside the model's own file.

A model file is a zip archive of tensors. `torch.load` reads these and passes over one more entry, `card.json`, which
holds the settings, the names of the classes, the transform and the fingerprints of the images. So a model and what
describes it are replaced in one step, at whatever moment a run is killed, and a file that is copied brings its card.
"""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

ENTRY = "card.json"


@dataclass(frozen=True)
class ModelCard:
    """What describes a model."""

    settings: dict  # by name, as built-in values; without those of the machine and the place
    data: dict  # classes and transform, as `dataset_classes.description.DataDescription` writes them
    # Fingerprints of the training and the test images, under `train` and `test`, and the SHA-256 of the run's list of
    # them
    images: dict

    def add_to(self, path: Path) -> None:
        """Put the card into a file of tensors: equal content gives equal bytes; OSError if it cannot be written."""
        with zipfile.ZipFile(path, "a") as archive:
            root = archive.namelist()[0].partition("/")[0]  # of all entries, as torch.load wants it
            archive.writestr(zipfile.ZipInfo(f"{root}/{ENTRY}"), json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The card in a model file; None if it has none: downloaded models, and those of earlier versions."""
        try:
            with zipfile.ZipFile(path) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith(f"/{ENTRY}"))
                card = cls(**json.loads(archive.read(name)))
        except Exception:  # whatever is in a file that is no archive of ours, or a damaged one
            return None
        return card if all(isinstance(part, dict) for part in vars(card).values()) else None
