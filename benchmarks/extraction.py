"""Dense features and their locality: in one pass over the images against a pass for each."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

from architectures.inference import predict_batches
from architectures.resnet import build_dense_model
from configs.hardware import Hardware
from sparsification.constants import LocalityStatistics
from sparsification.features import extract_dense_features

N_CLASSES = 10


@contextmanager
def passes(arch: str, images: int, side: int):
    """Pooled features of all images, locality and edge statistics of their maps."""
    hardware = Hardware.choose(workers=0)
    torch.manual_seed(0)
    model = hardware.place(build_dense_model(arch, N_CLASSES, "none"))
    dataset = TensorDataset(torch.rand(images, 3, side, side), torch.arange(images) % N_CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pooled.npy"
        yield (
            lambda: extract_dense_features(model, dataset, hardware, file),
            lambda: two_passes(model, dataset, hardware),
        )


def two_passes(model, dataset, hardware: Hardware):
    """First the features, then the statistics; no maps are kept in between."""
    batches = predict_batches(model, dataset, hardware, "Features")
    pooled = torch.cat([output.features.cpu() for output, _ in batches])
    statistics = LocalityStatistics()
    for output, _ in predict_batches(model, dataset, hardware, "Locality"):
        statistics.update(output.feature_maps, output.features)
    return pooled, statistics.result()
