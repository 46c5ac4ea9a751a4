"""A finished model's predictions for images, and tables of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from architectures.activations import strongest_first
from architectures.classifier import ModelOutput
from architectures.inference import INFERENCE_BATCH
from configs.errors import RunError
from configs.files import csv_text, write_json, write_text
from configs.hardware import Hardware
from configs.loading import Batches
from configs.script import progress
from prediction.images import ImageFiles, stack_readable
from prediction.model import FinishedModel

SEPARATOR = " | "  # between the classes of a set, which may hold commas


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image."""

    file: str
    prediction: str  # name of the predicted class
    probability: float  # its softmax probability
    prediction_sets: dict[str, list[str]]  # for every coverage the names of the classes, most probable first
    # Features of the predicted class, largest contribution first: number (as in the figures), activation (in standard
    # deviations), weight
    features: list[dict]


@torch.inference_mode()
def predict(
    finished: FinishedModel,
    files: Sequence[str],
    coverages: Sequence[float],
    hardware: Hardware,
    look: Callable[[str, Tensor, ModelOutput], None] | None = None,
) -> Iterator[Prediction | RunError]:
    """The prediction for every file in turn, or the error that says why it cannot be read.

    Args:
        coverages: targeted shares of images whose set holds the true class, as fractions.
        look: called for every readable image with its file, the transformed image `[3, S, S]`, and the model's output
            for it, `[1, ...]` on the CPU.
    """
    images = ImageFiles(files, finished.data.transform, finished.data.scale)
    rows = [batch.tolist() for batch in torch.arange(len(files)).split(INFERENCE_BATCH)]
    loader = Batches(images, rows, hardware, stack_readable)
    for own, (tensors, errors) in zip(rows, progress(loader, desc="Predicting", unit="batch"), strict=True):
        readable = [files[row] for row, error in zip(own, errors, strict=True) if error is None]
        predicted: Iterator[Prediction] = iter(())
        if tensors is not None:
            output = ModelOutput(*(x.cpu() for x in finished.model(hardware.to_device(tensors))))
            predicted = described(finished, readable, output, coverages)
            if look is not None:
                for file, image, *single in zip(readable, tensors, *(x.split(1) for x in output), strict=True):
                    look(file, image, ModelOutput(*single))
        for error in errors:
            yield next(predicted) if error is None else error


def described(
    finished: FinishedModel, files: Sequence[str], output: ModelOutput, coverages: Sequence[float]
) -> Iterator[Prediction]:
    """The predictions for image files, from the model's output for them."""
    classes = finished.data.classes
    weight = finished.model.class_weight.cpu()
    sets = list(finished.predictor.predict_each(output.features, output.logits, coverages))
    for row, (file, features, logits) in enumerate(zip(files, output.features, output.logits, strict=True)):
        ranked = strongest_first(logits).tolist()
        own = weight[ranked[0]]
        used = [f for f in strongest_first(own * features).tolist() if own[f] != 0]
        yield Prediction(
            file=file,
            prediction=classes[ranked[0]],
            probability=round(logits.softmax(dim=0)[ranked[0]].item(), 4),
            prediction_sets={
                f"{coverage:g}": [classes[c] for c in ranked if in_set[row, c]]
                for coverage, in_set in zip(coverages, sets, strict=True)
            },
            features=[
                {"feature": f, "activation": round(features[f].item(), 3), "weight": round(own[f].item(), 4)}
                for f in used
            ],
        )


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write the predictions as JSON, or as CSV with one line per image, by the file's suffix."""
    if path.suffix.lower() == ".json":
        write_json(path, [asdict(prediction) for prediction in predictions])
    else:
        write_text(path, csv_text(_rows(predictions)), errors="backslashreplace")


def _rows(predictions: Sequence[Prediction]) -> Iterator[list]:
    coverages = list(predictions[0].prediction_sets)
    sets = [f"prediction_set_{coverage}" for coverage in coverages]
    yield ["file", "prediction", "probability", *sets, "features"]
    for p in predictions:
        members = [SEPARATOR.join(p.prediction_sets[coverage]) for coverage in coverages]
        features = " ".join(f"{f['feature']}={f['activation']:g}" for f in p.features)
        yield [p.file, p.prediction, p.probability, *members, features]
