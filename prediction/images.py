"""The images to predict: found in folders, read, and put together in batches."""

import logging
import os
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from configs.errors import RunError, UsageError
from configs.paths import expanded_default
from dataset_classes.base import read_image
from dataset_classes.folders import Skipped
from dataset_classes.folders import find_images as images_below
from dataset_classes.pixels import PixelScale

log = logging.getLogger(__name__)


def find_images(paths: Sequence[str]) -> list[str]:
    """The named files, and the images below the named folders by name; each once.

    Raises:
        UsageError: if nothing is named.
        RunError: if a folder holds no images.
    """
    if not paths:
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
        files += below
    return list(dict.fromkeys(files))


class ImageFiles(Dataset):
    """Images by path, ready for the network; item i is a tensor, or the RunError that says why it is none."""

    def __init__(self, files: Sequence[str], transform, scale: PixelScale):
        self._files, self._transform, self._scale = files, transform, scale

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor | RunError:
        try:
            return self._transform(read_image(self._files[index], scale=self._scale))
        except RunError as error:
            return error


def stack_readable(
    batch: list[Tensor | RunError],
) -> tuple[Tensor | None, list[RunError | None]]:
    """The images of a batch as one tensor, None if there are none, and the error or None of every item.

    Loading processes call it: each tensor that they send holds a file descriptor.
    """
    tensors = [image for image in batch if isinstance(image, Tensor)]
    errors = [None if isinstance(image, Tensor) else image for image in batch]
    return torch.stack(tensors) if tensors else None, errors
