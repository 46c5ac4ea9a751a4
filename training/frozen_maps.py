"""The maps of a frozen network, or of its frozen first stages: they have to be computed only once.

For the same view of an image they are the same in every epoch. If a recipe shows every image in a few views in turn,
their maps are stored in memory and only the layers behind them run again. So are the maps of the images on which the
accuracy is measured.
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
# In full precision, so that measured accuracies are those of the whole model.
STORED_WATCHED = torch.float32
SHARE_OF_MEMORY = 1 / 4  # of the machine, at most


class StoredView(Dataset):
    """All images in one view; item i is `(maps, label)`, the frozen part's maps `[F', H', W']`."""

    def __init__(self, maps: Tensor, dataset):
        self._maps = maps
        self.labels, self.balanced = dataset.labels, getattr(dataset, "balanced", False)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._maps[index].float(), int(self.labels[index])


def stored_view(run: OpenRun, backbone: Backbone, view: int | None) -> StoredView:
    """Images in one view: stored by the run, or passed now through the frozen part of the network.

    Args:
        run: stores the maps until its model is trained.
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
            f"Maps to store, {len(run.frozen_maps) + 1}",
            lambda maps, labels: {"maps": maps.to(dtype)},
        )
        run.frozen_maps[view] = columns["maps"]
    return StoredView(run.frozen_maps[view], dataset)


class StoredBytes(NamedTuple):
    """Bytes of the maps that are stored in a phase; 0: none."""

    training: int = 0
    watched: int = 0


def stored_bytes(run: OpenRun, backbone: Backbone, views: int | None) -> StoredBytes:
    """What is stored in a phase: the maps of the network's frozen part, if it has one, as far as there is memory.

    Args:
        run: its training images, and the watched ones if their accuracy is measured.
        views: of every training image; None: a new one in every epoch.
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
            f"The maps of the frozen layers, in {views} views, take {training / 1e9:.1f} GB, more than the "
            f"{room / 1e9:.1f} GB of this machine's memory that may be used: they are made again in every epoch, which "
            "takes far longer. Fewer views (--set dense.views, finetune.views), larger cells (--reduced_strides False) "
            "or a smaller --img_size need less.",
        )
        training = 0
    watched = n_values * STORED_WATCHED.itemsize * len(run.data.watched)
    fits = training + watched <= room
    return StoredBytes(training, watched if fits and run.settings.eval_every else 0)
