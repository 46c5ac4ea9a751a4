"""Dense features and their locality: in one pass over the images against a pass for each."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

from architectures.classifier import build_dense_model
from architectures.inference import measured_batches
from configs.hardware import Hardware
from sparsification.constants import locality_sums
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


def two_passes(model, dataset, hardware: Hardware) -> tuple[torch.Tensor, torch.Tensor]:
    """First the features `[N, F]`, then the sums of their statistics `[2, F]`; no maps are kept in between."""
    features = measured_batches(
        model, dataset, hardware, "Features", lambda output, _: (output.features,)
    )
    pooled = torch.cat([batch for (batch,) in features])
    sums = measured_batches(
        model,
        dataset,
        hardware,
        "Locality",
        lambda output, _: (locality_sums(output.feature_maps, output.features),),
    )
    return pooled, torch.stack([batch for (batch,) in sums]).sum(dim=0)
