"""Forward passes over a whole dataset without autograd: the one place where trained models meet images."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from architectures.activations import peak_positions
from architectures.resnet import InterpretableResNet, ModelOutput
from architectures.tables import TensorTable
from configs.hardware import Hardware
from configs.run_folder import RunFolder, sha256
from configs.runs import feature_table_file, sparse_model_file
from configs.settings import Settings

INFERENCE_BATCH = 64


@dataclass(frozen=True)
class FeatureTable(TensorTable):
    """What a sparse model says about every image of a dataset, without the maps; all on the CPU.

    Attributes:
        features: `[N, n]`, what the head multiplies: normalised, after ReLU for CHiQPM.
        pooled: `[N, n]`, mean of the feature maps, >= 0.
        logits: `[N, C]`.
        labels: `[N]`.
        peaks: `[N, n, 2]`, row and column of each map's maximum as fractions of the image (centre of the cell).
    """

    features: Tensor
    pooled: Tensor
    logits: Tensor
    labels: Tensor
    peaks: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> "FeatureTable":
        """The table of some of the images."""
        return FeatureTable(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def predictions(self) -> Tensor:
        """Predicted classes, `[N]`."""
        return self.logits.argmax(dim=1)

    @property
    def accuracy(self) -> float:
        """Fraction of correctly classified images."""
        return (self.predictions == self.labels).double().mean().item()


@torch.inference_mode()
def predict_batches(
    model: InterpretableResNet, dataset, hardware: Hardware, description: str
) -> Iterator[tuple[ModelOutput, Tensor]]:
    """Model output and labels of every batch, in the dataset's order, on the model's device.

    Args:
        model: put into evaluation mode.
        dataset: yields `(image, label)`.
        hardware: device and loading workers.
        description: what the progress bar says.
    """
    model.eval()
    loader = DataLoader(dataset, batch_size=INFERENCE_BATCH, **hardware.loader_options())
    for images, labels in tqdm(loader, desc=description, unit="batch", leave=False):
        images = hardware.to_device(images)
        yield model(images), labels.to(hardware.device)


def collect_feature_table(
    model: InterpretableResNet, dataset, hardware: Hardware, description: str = "Features"
) -> FeatureTable:
    """The feature table of a sparse model on a dataset (one pass, maps are dropped batch by batch)."""
    columns, start = [], 0
    for output, labels in predict_batches(model, dataset, hardware, description):
        maps = output.feature_maps
        cells = torch.tensor(maps.shape[-2:], device=maps.device)
        batch = (
            output.features,
            maps.mean(dim=(2, 3)),
            output.logits,
            labels,
            (peak_positions(maps) + 0.5) / cells,
        )
        # Filled in place: joining the batches at the end would need the memory twice.
        columns = columns or [x.new_empty(len(dataset), *x.shape[1:], device="cpu") for x in batch]
        for column, values in zip(columns, batch, strict=True):
            column[start : start + len(labels)] = values.cpu()
        start += len(labels)
    return FeatureTable(*columns)


class FeatureTables(NamedTuple):
    """The sparse model's feature tables on the training images (test transform) and the test images."""

    train: FeatureTable
    test: FeatureTable


def feature_tables(
    settings: Settings, run: RunFolder, model: InterpretableResNet, data, hardware: Hardware
) -> FeatureTables:
    """The feature tables of a run's sparse model, reused where they are current."""
    return FeatureTables(
        *(
            feature_table(settings, run, model, dataset, split, hardware)
            for split, dataset in (("train", data.train_plain), ("test", data.test))
        )
    )


def feature_table(
    settings: Settings,
    run: RunFolder,
    model: InterpretableResNet,
    dataset,
    split,
    hardware: Hardware,
) -> FeatureTable:
    """The feature table of a run's sparse model on a split (`train` or `test`), reused if it is current.

    A downloaded model has no entry in the manifest; its tables depend on the file's content all the same.
    """
    artefact = run.artefact(
        feature_table_file(settings, split),
        {
            **settings.backbone_dependencies(),
            "model": sha256(run.file(sparse_model_file(settings))),
            "images": dataset.fingerprint(),
        },
    )
    if artefact.is_current():
        return FeatureTable.load(artefact.path)
    table = collect_feature_table(model, dataset, hardware, f"Sparse features ({split})")
    artefact.write(table.save)
    return table
