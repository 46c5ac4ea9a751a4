"""The images of an epoch: a seed determines their order and augmentation, however many processes train or load."""

import random

import numpy as np
import torch
from torch.utils.data import Dataset

from configs import processes
from configs.errors import UsageError
from configs.files import fingerprint
from configs.hardware import Hardware
from configs.loading import Batches


def seed_of(*key: object) -> int:
    """A seed from a key such as `(run's seed, phase, epoch)`."""
    return int(fingerprint({"key": [str(part) for part in key]}), 16) % 2**32


def seed_everything(*key: object) -> None:
    """Seed all generators from a key.

    Every epoch starts from its own seed, so a resumed training equals an uninterrupted one.
    """
    seed = seed_of(*key)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class SeededImages(Dataset):
    """A dataset in one epoch, whose random numbers depend on the image alone.

    So the augmented images are the same however many processes load or train.

    Args:
        dataset: takes its random numbers from PyTorch's generator.
    """

    def __init__(self, dataset, seed: int):
        self._dataset, self._seed = dataset, seed

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._seed + index)
            return self._dataset[index]


def epoch_order(dataset, generator: torch.Generator) -> torch.Tensor:
    """Indices of the images of an epoch, `[N]`: each once, or for `balanced` datasets all classes equally often."""
    if not getattr(dataset, "balanced", False):
        return torch.randperm(len(dataset), generator=generator)
    labels = torch.as_tensor(dataset.labels)
    rarity = 1 / labels.bincount().double()[labels]
    return rarity.multinomial(len(dataset), replacement=True, generator=generator)


def epoch_batches(dataset, batch_size: int, hardware: Hardware, seed: int, view_seed: int | None = None) -> Batches:
    """This process's share of the shuffled batches of an epoch.

    A last batch that is not full is left out, unless it is the only one. All processes have equal shares.

    Args:
        batch_size: images of all processes together.
        seed: of the epoch.
        view_seed: of the augmentation, if it is not the epoch's.

    Raises:
        UsageError: if there are fewer images than processes.
    """
    if len(dataset) < processes.count():
        raise UsageError(f"{len(dataset)} training images cannot be shared by {processes.count()} processes")
    order = epoch_order(dataset, torch.Generator().manual_seed(seed))
    batches = order.split(batch_size)
    if len(batches) > 1 and len(batches[-1]) < batch_size:
        batches = batches[:-1]  # batch normalisation needs more than one image
    rank, count = processes.rank(), processes.count()
    own = [batch[rank::count][: len(batch) // count].tolist() for batch in batches]
    images = SeededImages(dataset, seed if view_seed is None else view_seed)
    return Batches(images, own, hardware)
