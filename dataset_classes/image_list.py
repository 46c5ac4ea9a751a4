"""The list of a run's images: a table in the run folder of the images that were trained on and of the test images.

    split,digest,file
    train,5f6c3a...,ant/00.png

An image is identified by the digest of its content (BLAKE2b of the whole file), so it may be moved; one that was edited
in place is identified by its name.
"""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from configs.errors import RunError, reason
from configs.files import csv_text, write_text
from dataset_classes.contents import DIGEST_BYTES

log = logging.getLogger(__name__)

HEADER = ["split", "digest", "file"]
SPLITS = ("train", "test")


@dataclass(frozen=True)
class ListedImage:
    """One image."""

    split: str  # `train` or `test`
    digest: str  # of its content
    file: str  # its path below the data root


@dataclass(frozen=True)
class ImageList:
    """The images of a run, in the order of its dataset: the training images first."""

    rows: tuple[ListedImage, ...]

    @cached_property
    def _by_digest(self) -> dict[str, str]:
        # An image on both sides was trained on.
        return {row.digest: row.split for row in sorted(self.rows, key=lambda row: row.split)}

    @cached_property
    def _by_file(self) -> dict[str, str]:
        return {row.file: row.split for row in self.rows}

    def split_of(self, digest: str | None, file: str) -> str | None:
        """The split of an image, by its content, else by its name; None if it is not listed."""
        return self._by_digest.get(digest) or self._by_file.get(file)

    def warn_of_trained(self, files: Sequence[str], digests: Sequence[str | None]) -> None:
        """Log how many of some image files, identified by the digests of their contents, were trained on."""
        trained = [f for f, digest in zip(files, digests, strict=True) if self._by_digest.get(digest) == "train"]
        if trained:
            log.warning(
                "%d of %d images were trained on, the first is %s: the model is surer of them than of new ones.",
                *(len(trained), len(files), trained[0]),
            )

    def write(self, path: Path) -> None:
        """Write the list as CSV; RunError if the file cannot be written."""
        rows = ([row.split, row.digest, row.file] for row in self.rows)
        write_text(path, csv_text([HEADER, *rows]), errors="surrogateescape")

    @classmethod
    def read(cls, path: Path) -> "ImageList | None":
        """The list in a file, None if there is no file; RunError, which names file and line, if it is damaged."""
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                header, *lines = csv.reader(file)
        except FileNotFoundError:
            return None
        except (OSError, csv.Error, ValueError) as error:
            raise RunError(f"{path} cannot be read as a list of images ({reason(error)}).") from None
        if header != HEADER:
            raise RunError(f"{path} is not a list of images: its header is not '{','.join(HEADER)}'.")
        for number, line in enumerate(lines, start=2):
            if len(line) != 3 or line[0] not in SPLITS or len(line[1]) != 2 * DIGEST_BYTES:
                raise RunError(f"{path}, line {number}: expected train or test, a digest and a file.")
        return cls(tuple(ListedImage(*line) for line in lines))
