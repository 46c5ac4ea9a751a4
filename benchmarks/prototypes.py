"""A prototype network on the maps of a network that stays as it is: ProtoPNet (Chen et al., NeurIPS 2019) of cabrnet.

Layers, losses and learning rates are the published ones. What differs: the network itself is not trained; an epoch is
one look at every image given; patches take the prototypes' place once, at the end; and the layers begin with PyTorch's
random numbers, from which they learn faster here than from the published ones.
"""

from typing import Self

import numpy as np
import torch
from cabrnet.archs.protopnet.decision import ProtoPNetClassifier
from cabrnet.archs.protopnet.model import ProtoPNet
from cabrnet.core.utils.optimizers import OptimizerManager
from loguru import logger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

logger.disable("cabrnet")  # it tells every setting

PER_CLASS, CHANNELS, BATCH = 10, 128, 80
EPOCHS, SLOWER_AFTER = 12, 9


class PrototypeNetwork:
    """Maps to classes: the most similar patch of an image to each of ten prototypes of every class, then a layer."""

    @property
    def n_read(self) -> int:
        """Prototypes, of all classes: each has its similarity to the image."""
        return self._model.num_prototypes

    def fit(self, maps: np.ndarray, labels: np.ndarray) -> Self:
        """Train layers and prototypes, put the nearest patches in the prototypes' place, then train the last layer.

        Args:
            maps: `[N, F, H, W]`.
            labels: `[N]`.
        """
        torch.manual_seed(0)
        layers = [nn.Conv2d(maps.shape[1], CHANNELS, 1), nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 1), nn.Sigmoid()]
        similarity = {"name": "LegacyProtoPNetSimilarity"}
        prototypes = ProtoPNetClassifier(similarity, int(labels.max()) + 1, CHANNELS, PER_CLASS, "UNIFORM")
        self._model = ProtoPNet(nn.Sequential(*layers), prototypes)
        self._model.projection_config["start_epoch"] = EPOCHS - 1
        images = TensorDataset(torch.from_numpy(maps), torch.from_numpy(labels))
        loaders = {"train_set": DataLoader(images, BATCH, shuffle=True), "projection_set": DataLoader(images, BATCH)}
        optimizers = OptimizerManager(_schedule(), self._model)
        for epoch in range(EPOCHS):
            optimizers.freeze(epoch)
            self._model.train_epoch(loaders, optimizers, device="cpu", epoch_idx=epoch)
            optimizers.scheduler_step(epoch, None)
        return self

    def predict(self, maps: np.ndarray) -> np.ndarray:
        """Classes, `[N]`."""
        with torch.inference_mode():
            logits, _ = self._model.eval()(torch.from_numpy(maps))
        return logits.argmax(dim=1).numpy()


def _schedule() -> dict:
    """What cabrnet trains when; it trains the last layer by itself, after the prototypes have become patches."""
    slower = {"type": "StepLR", "params": {"step_size": SLOWER_AFTER, "gamma": 0.1}}
    trained = {"layers": {"lr": 3e-3, "weight_decay": 1e-3}, "prototypes": {"lr": 3e-3}}
    return {
        "num_epochs": EPOCHS,
        "param_groups": {"layers": "extractor", "prototypes": "classifier.prototypes", "last": "classifier.last_layer"},
        "optimizers": {
            "first": {"type": "Adam", "groups": trained, "scheduler": slower},
            "last_layer_optimizer": {"type": "Adam", "groups": {"last": {"lr": 1e-4}}},
        },
        "periods": {"all": {"epoch_range": [0, EPOCHS - 1], "optimizers": "first", "freeze": "last"}},
    }
