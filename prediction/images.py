"""The images to predict: found in folders, read, and put together in batches."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from configs.errors import RunError, UsageError
from configs.paths import expanded_default
from dataset_classes.base import read_image
from dataset_classes.image_folder import is_image


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
            walk = os.walk(path, followlinks=True)
            below = sorted(os.path.join(p, file) for p, _, names in walk for file in names)
            below = [file for file in below if is_image(os.path.basename(file))]
            if not below:
                raise RunError(f"no images in the folder {path}")
        files += below
    return list(dict.fromkeys(files))


class ImageFiles(Dataset):
    """Images by path, ready for the network; item i is a tensor, or the RunError that says why it is none."""

    def __init__(self, files: Sequence[str], transform):
        self._files, self._transform = files, transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor | RunError:
        try:
            return self._transform(read_image(self._files[index]))
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
