"""Training images from the memory of resized ones against reading and resizing the files each time."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from dataset_classes.base import ImageDataset
from dataset_classes.transforms import fine_grained_train

CHANNELS = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))  # mean and standard deviation


@contextmanager
def epoch(images: int, width: int, height: int, side: int):
    """One pass over generated JPEG files, augmented as in training, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.jpg" for index in range(images)]
        for index, path in enumerate(paths):
            photograph(width, height, seed=index).save(path, quality=90)
        dataset = ImageDataset(paths, [0] * images, ["class"], root=Path(folder))
        dataset.transform = fine_grained_train(side, *CHANNELS, square=False)
        yield lambda: remembered(dataset), lambda: decoded(dataset)


def remembered(dataset: ImageDataset) -> None:
    """The dataset as the training uses it; its first epoch fills the memory."""
    for index in range(len(dataset)):
        dataset[index]


def decoded(dataset: ImageDataset) -> None:
    """Every image from its file."""
    for index in range(len(dataset)):
        dataset.transform(dataset.image(index))


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Random colours that change smoothly, with a little noise: a file of about the size of a photograph's."""
    generator = np.random.default_rng(seed)
    colours = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC))
    noisy = smooth + generator.normal(0, 4, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
