"""The maps of a frozen network, which it has to make only once.

A frozen network gives the same maps of the same view of an image in every epoch. Where a recipe shows every image in a
few views, one after the other, they are kept in memory and only what follows the network is computed again.
"""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from architectures.backbones.base import Backbone
from architectures.backbones.frozen import FrozenNetwork
from architectures.inference import collect_columns, measured_batches
from configs.hardware import machine_memory
from configs.open_run import OpenRun
from training.batches import SeededImages

STORED = torch.float16
SHARE_OF_MEMORY = 1 / 4  # of the machine, at most


class StoredView(Dataset):
    """All images in one view; item i is `(maps, label)`, the maps `[F, H, W]` as the frozen network made them."""

    def __init__(self, maps: Tensor, dataset):
        self._maps = maps
        self.labels, self.balanced = dataset.labels, getattr(dataset, "balanced", False)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._maps[index].float(), int(self.labels[index])


def stored_view(run: OpenRun, backbone: Backbone, view: int) -> StoredView:
    """The training images in one view: remembered by the run, or seen by the network now.

    Args:
        run: remembers the maps until its model is trained.
        backbone: frozen.
        view: seed of the augmentation.
    """
    if view not in run.frozen_maps:
        images = SeededImages(run.data.train, view)
        batches = measured_batches(
            FrozenNetwork(backbone),
            images,
            run.hardware,
            f"Frozen network, view {len(run.frozen_maps) + 1}",
            lambda maps, labels: (maps.to(STORED),),
        )
        run.frozen_maps[view] = collect_columns(batches, len(images))[0]
    return StoredView(run.frozen_maps[view], run.data.train)


def stored_bytes(run: OpenRun, backbone: Backbone, views: int | None) -> int:
    """Size of the maps of so many views of all training images; 0 where they are not stored.

    They are if the network is frozen and there is memory for them.
    """
    if not backbone.frozen or views is None:
        return 0
    images = run.data.train
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        image, _ = images[0]
        maps = backbone.eval().maps(run.hardware.to_device(image[None]))
    needed = maps.numel() * STORED.itemsize * len(images) * views
    return needed if needed <= SHARE_OF_MEMORY * machine_memory() else 0
