"""The images to predict: found in folders, read, and collated into batches."""

import csv
import glob
import logging
import os
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from configs.errors import RunError, UsageError, reason
from configs.paths import expanded_default
from dataset_classes.folders import Skipped, is_image
from dataset_classes.folders import find_images as images_below
from dataset_classes.image_files import read_image
from dataset_classes.pixels import PixelScale

log = logging.getLogger(__name__)

COLUMN = "file"  # of tables
DELIMITERS = ",;\t"  # spreadsheets do not all write commas


def find_images(paths: Sequence[str]) -> list[str]:
    """The given files, the images below the given folders, sorted, and those in the given tables; each once.

    Args:
        paths: files, folders, patterns such as `photos/*.jpg` (for shells that do not expand them), and tables (.csv)
            with commas, semicolons or tabs. The column `file` of a table, or the first if it has no header, holds image
            files, relative to the table's folder.

    Raises:
        UsageError: if there are no paths.
        RunError: if a folder, a pattern or a table holds no images, or a table cannot be read.
    """
    if not all(paths) or not paths:
        raise UsageError("name the images: --image FILE_OR_FOLDER ...")
    files = []
    for path in map(expanded_default, paths):
        below = [path]
        if os.path.isdir(path):
            skipped = Skipped()
            below = images_below(path, skipped)
            if not below:
                raise RunError(f"no images in the folder {path}. {skipped.line()}".strip())
            if skipped.line():
                log.info("%s: %s", path, skipped.line())
        elif path.lower().endswith(".csv"):
            below = _listed(path)
        elif glob.has_magic(path) and not os.path.exists(path):
            below = sorted(glob.glob(path, recursive=True))
            if not below:
                raise RunError(f"no file fits {path}")
            below = find_images(below)
        files += below
    return list(dict.fromkeys(files))


def _listed(table: str) -> list[str]:
    """The images in a table, see `find_images`."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            lines = [line for line in file if line.strip()]
        headers = {delimiter: _header(lines, delimiter) for delimiter in DELIMITERS}
        fitting = [d for d, names in headers.items() if COLUMN in names or (names and is_image(names[0]))]
        delimiter = (fitting or DELIMITERS)[0]
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if any(row)]
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"the table {table} cannot be read: {reason(error)}") from None
    header = headers[delimiter]
    named = COLUMN in header
    if header and not fitting:
        raise RunError(f"the table {table} has no column '{COLUMN}', only {', '.join(map(repr, header))}")
    if header.count(COLUMN) > 1 or (not named and sum(map(is_image, header)) > 1):
        raise RunError(f"the table {table} names several images per line; put '{COLUMN}' above those to use")
    column = header.index(COLUMN) if named else 0
    names = [cell.strip() for row in rows[int(named) :] for cell in row[column : column + 1] if cell.strip()]
    if not names:
        raise RunError(f"the table {table} names no images")
    return [os.path.join(os.path.dirname(table), name) for name in names]


def _header(lines: list[str], delimiter: str) -> list[str]:
    """The first row of a table, in lower case."""
    row = next(csv.reader(lines, delimiter=delimiter), [])
    return [name.strip().lower() for name in row]


class ImageFiles(Dataset):
    """Images by path, transformed; item i is a tensor, or the RunError that says why it cannot be read."""

    def __init__(self, files: Sequence[str], transform, scale: PixelScale):
        self._files, self._transform, self._scale = files, transform, scale

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor | RunError:
        try:
            return self._transform(read_image(self._files[index], scale=self._scale))
        except RunError as error:
            return error


def stack_readable(batch: list[Tensor | RunError]) -> tuple[Tensor | None, list[RunError | None]]:
    """The images of a batch as one tensor, None if there are none, and the error or None of every item.

    Stacked in the loading processes, since every tensor that they send takes a file descriptor.
    """
    tensors = [image for image in batch if isinstance(image, Tensor)]
    errors = [None if isinstance(image, Tensor) else image for image in batch]
    return torch.stack(tensors) if tensors else None, errors
