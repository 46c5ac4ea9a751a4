"""Forward passes over a whole dataset, without autograd."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from architectures.activations import relative_peaks, spatial_diversity
from architectures.classifier import InterpretableClassifier, ModelOutput
from architectures.tables import TensorTable
from configs import processes
from configs.files import sha256
from configs.hardware import Hardware
from configs.loading import Batches
from configs.open_run import OpenRun
from configs.run_files import feature_table_file, sparse_model_file
from configs.run_folder import RunFolder
from configs.script import progress
from configs.settings import Settings

INFERENCE_BATCH = 64
Measure = Callable[[Any, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class FeatureTable(TensorTable):
    """The outputs of a sparse model for every image of a dataset, without the maps; all on the CPU."""

    features: Tensor  # [N, n], what the head multiplies: normalised, after ReLU for CHiQPM
    pooled: Tensor  # [N, n], mean or maximum of each feature map, >= 0
    labels: Tensor  # [N]
    predictions: Tensor  # predicted classes, [N]
    peaks: Tensor  # [N, n, 2], row and column of each map's maximum as fractions of the image (centre of the cell)
    logits: Tensor | None = None  # [N, C]; None for training images, which may be a million of a thousand classes
    sid: Tensor | None = None  # SID@5 of every image, [N]; None for training images, on which it is not measured
    peak_values: Tensor = field(kw_only=True)  # [N, n], maximum of each map

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> "FeatureTable":
        """The table of some of the images."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return FeatureTable(**{k: None if x is None else x[rows] for k, x in columns.items()})

    @property
    def accuracy(self) -> float:
        """Fraction of correctly classified images."""
        return (self.predictions == self.labels).double().mean().item()


@torch.inference_mode()
def measured_batches(
    model: nn.Module, dataset, hardware: Hardware, description: str, measure: Measure
) -> Iterator[dict[str, Tensor]]:
    """The columns that `measure` returns for every batch, in the dataset's order, on the CPU.

    The processes of a run divide the batches among themselves, and each receives the columns of all.

    Args:
        model: put into evaluation mode.
        dataset: yields `(image, label)`.
        description: text of the progress bar.
        measure: columns by name, from the model's output for a batch and its labels, on the model's device.
    """
    model.eval()
    batches = torch.arange(len(dataset)).split(INFERENCE_BATCH)
    own = [batch.tolist() for batch in batches[processes.rank() :: processes.count()]]
    loader = iter(Batches(dataset, own, hardware))
    rounds = math.ceil(len(batches) / processes.count())
    for _ in progress(range(rounds), desc=description, unit="batch"):
        measured = None
        if (batch := next(loader, None)) is not None:
            images, labels = batch
            output = model(hardware.to_device(images))
            columns = measure(output, labels.to(hardware.device))
            measured = {name: x.cpu() for name, x in columns.items()}
        yield from (part for part in processes.all_gather(measured) if part is not None)


def measured_columns(
    model: nn.Module, dataset, hardware: Hardware, description: str, measure: Measure
) -> dict[str, Tensor]:
    """The columns of `measured_batches` joined, `[N, ...]` each; filled in place, as `cat` needs twice the memory."""
    columns: dict[str, Tensor] = {}
    end = 0
    for batch in measured_batches(model, dataset, hardware, description, measure):
        columns = columns or {name: x.new_empty(len(dataset), *x.shape[1:]) for name, x in batch.items()}
        start, end = end, end + len(next(iter(batch.values())))
        for name, values in batch.items():
            columns[name][start:end] = values
    return columns


def first_of_every_class(labels: Tensor, count: int) -> Tensor:
    """Indices of the first `count` images of every class, class by class, `[C * count]`."""
    return torch.cat([(labels == c).nonzero()[:count, 0] for c in labels.unique()])


def features_and_peaks(model: InterpretableClassifier, dataset, hardware: Hardware) -> tuple[Tensor, Tensor, Tensor]:
    """Features of a model's head, `[N, n]`, labels, `[N]`, and positions of the maps' maxima, `[N, n, 2]`."""
    table = collect_feature_table(model, dataset, hardware, with_results=False)
    return table.features, table.labels, table.peaks


def collect_feature_table(
    model: InterpretableClassifier, dataset, hardware: Hardware, description: str = "Features", *, with_results: bool
) -> FeatureTable:
    """The feature table of a sparse model on a dataset, in one pass; logits and SID@5 only `with_results`."""

    def measure(output: ModelOutput, labels: Tensor) -> dict[str, Tensor]:
        maps, logits = output.feature_maps, output.logits
        columns = {
            "features": output.features,
            "pooled": model.backbone.pool(maps),
            "labels": labels,
            "predictions": logits.argmax(dim=1),
            "peaks": relative_peaks(maps),
            "peak_values": maps.amax(dim=(2, 3)),
        }
        if with_results:
            columns |= {"logits": logits, "sid": spatial_diversity(maps, logits, model.class_weight)}
        return columns

    return FeatureTable(**measured_columns(model, dataset, hardware, description, measure))


class FeatureTables(NamedTuple):
    """The sparse model's feature tables on the training images (test transform) and the test images."""

    train: FeatureTable
    test: FeatureTable


def feature_tables(run: OpenRun, model: InterpretableClassifier) -> FeatureTables:
    """The feature tables of a run's sparse model, reused if they are current."""
    return FeatureTables(*(feature_table(run, model, split) for split in ("train", "test")))


def feature_table(run: OpenRun, model: InterpretableClassifier, split: str) -> FeatureTable:
    """The feature table of a run's sparse model on a split (`train` or `test`), reused if it is current.

    Tables depend on the content of the model's file, since a downloaded model has no entry in the manifest.
    """
    images = run.data.train_unaugmented if split == "train" else run.data.test
    artefact = run.folder.artefact(
        run.beside(split) + feature_table_file(run.settings, split),
        {
            **run.settings.backbone_dependencies(),
            "model": sha256(run.folder.file(sparse_model_file(run.settings))),
            "images": images.fingerprint(),
            "columns": [f.name for f in fields(FeatureTable)],
        },
    )

    def make(path: Path | None) -> None:
        description = f"Sparse features ({split})"
        table = collect_feature_table(model, images, run.hardware, description, with_results=split == "test")
        if path is not None:
            table.save(path)

    return artefact.load_or_make(FeatureTable.load, make, together=True)


def recorded_table(settings: Settings, run: RunFolder, split: str) -> dict | None:
    """The manifest's entry for the feature table of a run's present model, without reading data; None if missing."""
    entry = run.manifest().get(feature_table_file(settings, split))
    if entry is None:
        return None
    model = sha256(run.file(sparse_model_file(settings)))
    return entry if entry["settings"].get("model") == model else None


def saved_feature_table(settings: Settings, run: RunFolder, split: str) -> FeatureTable | None:
    """The feature table that a run saved for its model, without reading any data; None if there is none."""
    entry = recorded_table(settings, run, split)
    if entry is None:
        return None
    artefact = run.artefact(feature_table_file(settings, split), entry["settings"])
    return FeatureTable.load(artefact.path) if artefact.why_outdated() is None else None
