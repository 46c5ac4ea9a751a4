"""The maps of a network, or of its first stages, that are not trained: they have to be made only once.

They are the same of the same view of an image in every epoch. Where a recipe shows every image in a few views, one
after the other, they are kept in memory and only what follows is computed again. So are those of the images on which
the accuracy is measured.
"""

import logging
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from architectures.backbones.base import Backbone
from architectures.backbones.frozen import FrozenPart
from architectures.inference import measured_columns
from configs import processes
from configs.hardware import machine_memory
from configs.open_run import OpenRun
from configs.script import warn_once
from training.batches import SeededImages

log = logging.getLogger(__name__)

STORED = torch.float16
# As the network makes them: measured accuracies are those of the whole model.
STORED_WATCHED = torch.float32
SHARE_OF_MEMORY = 1 / 4  # of the machine, at most


class StoredView(Dataset):
    """All images in one view; item i is `(maps, label)`, the maps `[F', H', W']` as what is not trained made them."""

    def __init__(self, maps: Tensor, dataset):
        self._maps = maps
        self.labels, self.balanced = dataset.labels, getattr(dataset, "balanced", False)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._maps[index].float(), int(self.labels[index])


def stored_view(run: OpenRun, backbone: Backbone, view: int | None) -> StoredView:
    """Images in one view: remembered by the run, or seen now by the part of the network that is not trained.

    Args:
        run: remembers the maps until its model is trained.
        view: seed of the augmentation of the training images; None: the watched images, which are not augmented.
    """
    dataset = run.data.watched if view is None else run.data.train
    if view not in run.frozen_maps:
        images = dataset if view is None else SeededImages(dataset, view)
        dtype = STORED_WATCHED if view is None else STORED
        columns = measured_columns(
            FrozenPart(backbone),
            images,
            run.hardware,
            f"Maps to keep, {len(run.frozen_maps) + 1}",
            lambda maps, labels: {"maps": maps.to(dtype)},
        )
        run.frozen_maps[view] = columns["maps"]
    return StoredView(run.frozen_maps[view], dataset)


class StoredBytes(NamedTuple):
    """Sizes of the maps of a phase that are stored; 0: they are not."""

    training: int = 0
    watched: int = 0


def stored_bytes(run: OpenRun, backbone: Backbone, views: int | None) -> StoredBytes:
    """What is stored of a phase: if a first part of the network is not trained, its maps for which there is memory.

    Args:
        run: its training images, and the watched ones if their accuracy is measured.
        views: how many there are of every training image; None: a new one in every epoch.
    """
    if not backbone.has_frozen_part:
        return StoredBytes()
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        image, _ = run.data.train[0]
        n_values = backbone.eval().frozen_maps(run.hardware.to_device(image[None])).numel()
    room = SHARE_OF_MEMORY * machine_memory() / processes.local_count()
    training = n_values * STORED.itemsize * len(run.data.train) * (views or 0)
    if training > room:
        warn_once(
            log,
            f"The maps of the part that is not trained, in {views} views, take {training / 1e9:.1f} GB, more than the "
            f"{room / 1e9:.1f} GB that may be used of this machine's memory: they are made again in every epoch, which "
            "takes far longer. Fewer views (--set dense.views, finetune.views), larger cells (--reduced_strides False) "
            "or a smaller --img_size need less.",
        )
        training = 0
    watched = n_values * STORED_WATCHED.itemsize * len(run.data.watched)
    fits = training + watched <= room
    return StoredBytes(training, watched if fits and run.settings.eval_every else 0)
