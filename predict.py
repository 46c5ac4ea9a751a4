"""Predict images with a finished model: class, prediction sets and the features behind them, as CSV or JSON.

    python predict.py --folder RUN_FOLDER --image photo.jpg more_photos/

The run folder is enough, the training images are not needed. Photographs should show what the training images
show: a model of cropped images wants them cropped.
"""

import csv
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from architectures.backbones.registry import backbone_of
from architectures.classifier import InterpretableClassifier
from architectures.finished_model import load_finished_model
from architectures.inference import INFERENCE_BATCH, feature_table
from configs.arguments import flag
from configs.errors import RunError, UsageError
from configs.hardware import Hardware
from configs.loading import Batches
from configs.open_run import OpenRun
from configs.paths import expanded, expanded_default
from configs.run_folder import RunFolder, write_atomically, write_json
from configs.runs import finished_run
from configs.script import progress, run_script
from configs.settings import Settings
from conformal.calibrate import calibrate, saved_calibration
from conformal.predictor import ConformalPredictor
from dataset_classes.base import read_image
from dataset_classes.description import DataDescription
from dataset_classes.image_folder import is_image
from dataset_classes.registry import data_of

log = logging.getLogger(__name__)

PREDICTION = "prediction"
SEPARATOR = " | "  # between the classes of a set, which may hold commas


def _table_file(text: str) -> str:
    path = Path(expanded(text))
    if path.suffix.lower() not in (".csv", ".json") or path.is_dir():
        raise ValueError(f"the output must be a .csv or .json file, not {text}")
    return str(path)


@dataclass(frozen=True)
class PredictFlags:
    """Which images are predicted."""

    image: tuple[str, ...] = flag(
        PREDICTION, (), "image files, or folders with images at any depth", parse=str, many=True
    )
    output: str = flag(
        PREDICTION, "predictions.csv", "file to write, .csv or .json", parse=_table_file
    )


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image.

    Attributes:
        file: the image.
        prediction: name of the predicted class.
        probability: its softmax probability.
        prediction_sets: for every coverage the names of the classes, most probable first.
        features: of the predicted class, largest contribution first: number (as in the figures), activation (in
            standard deviations), weight.
    """

    file: str
    prediction: str
    probability: float
    prediction_sets: dict[str, list[str]]
    features: list[dict]


@dataclass(frozen=True)
class FinishedModel:
    """A model, what it knows of its data, and its calibrated prediction sets."""

    model: InterpretableClassifier
    data: DataDescription
    predictor: ConformalPredictor


def main() -> None:
    """Predict every image that can be read; exit with 1 if some could not."""
    settings, run, flags = finished_run(None, __doc__, PredictFlags)
    files = find_images(flags.image)
    hardware = Hardware.choose(settings.device, settings.workers)
    finished = open_model(settings, run, hardware)
    found = list(predict(finished, files, settings.coverage, hardware))
    predictions = [entry for entry in found if isinstance(entry, Prediction)]
    unreadable = [entry for entry in found if isinstance(entry, RunError)]
    for error in unreadable:
        log.warning("%s", error)
    if not predictions:
        raise RunError(f"none of the {len(files)} images can be read, the first: {unreadable[0]}")
    write_predictions(Path(flags.output), predictions)
    log.info("%d images predicted with %s: %s", len(predictions), run.path, flags.output)
    if unreadable:
        raise RunError(
            f"{len(unreadable)} of {len(files)} images could not be read and are not in {flags.output} (named above)"
        )


def find_images(paths: Sequence[str]) -> list[str]:
    """The named files, and the images below the named folders by name; each once.

    Raises:
        UsageError: if nothing is named.
        RunError: if a folder holds no images.
    """
    if not paths:
        raise UsageError("name the images: --image FILE_OR_FOLDER ...")
    files = []
    for path in map(expanded_default, paths):
        below = [path]
        if os.path.isdir(path):
            walk = os.walk(path, followlinks=True)
            below = sorted(os.path.join(p, file) for p, _, names in walk for file in names)
            below = [file for file in below if is_image(os.path.basename(file))]
            if not below:
                raise RunError(f"no images in the folder {path}")
        files += below
    return list(dict.fromkeys(files))


def open_model(settings: Settings, run: RunFolder, hardware: Hardware) -> FinishedModel:
    """The model of a run with all that predicting needs: from the run folder, else made from the dataset.

    Raises:
        RunError: if the run folder lacks something and the dataset is not there.
    """
    data, predictor = DataDescription.recorded(run), saved_calibration(settings, run)
    if data is not None and predictor is not None:
        return FinishedModel(
            load_finished_model(settings, run, data.classes, hardware), data, predictor
        )
    try:
        splits = data_of(settings, backbone_of(settings))
    except RunError as error:
        lacks = "class names" if data is None else "calibration of this model"
        raise RunError(
            f"{run.path} has no {lacks} (config.json, manifest.json, *_Calibration.npz), so the dataset is needed: "
            f"{error}"
        ) from None
    model = load_finished_model(settings, run, splits.test.classes, hardware)
    opened = OpenRun(settings, run, hardware, splits)
    table = feature_table(opened, model, "test")
    predictor = calibrate(opened, model.class_weight.cpu(), table)
    return FinishedModel(model, DataDescription.of(splits.test), predictor)


class ImageFiles(Dataset):
    """Images by path, ready for the network; item i is a tensor, or the RunError that says why it is none."""

    def __init__(self, files: Sequence[str], transform):
        self._files, self._transform = files, transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor | RunError:
        try:
            return self._transform(read_image(self._files[index]))
        except RunError as error:
            return error


@torch.inference_mode()
def predict(
    finished: FinishedModel, files: Sequence[str], coverages: Sequence[float], hardware: Hardware
) -> Iterator[Prediction | RunError]:
    """For every file in turn its prediction, or the error that says why it cannot be read."""
    images = ImageFiles(files, finished.data.transform)
    rows = torch.arange(len(files)).split(INFERENCE_BATCH)
    loader = Batches(images, [batch.tolist() for batch in rows], hardware, stack_readable)
    names = iter(files)
    for tensors, errors in progress(loader, desc="Predicting", unit="batch"):
        predicted: Iterator[tuple] = iter(())
        if tensors is not None:
            output = finished.model(hardware.to_device(tensors))
            predicted = describe(finished, output.features.cpu(), output.logits.cpu(), coverages)
        for error in errors:
            file = next(names)
            yield error or Prediction(file, *next(predicted))


def stack_readable(
    batch: list[Tensor | RunError],
) -> tuple[Tensor | None, list[RunError | None]]:
    """The images of a batch as one tensor, None if there are none, and the error or None of every item.

    Loading processes call it: each tensor that they send holds a file descriptor.
    """
    tensors = [image for image in batch if isinstance(image, Tensor)]
    errors = [None if isinstance(image, Tensor) else image for image in batch]
    return torch.stack(tensors) if tensors else None, errors


def describe(
    finished: FinishedModel, features: Tensor, logits: Tensor, coverages: Sequence[float]
) -> Iterator[tuple]:
    """The fields of `Prediction` but the file, for each row of features `[B, n]` and logits `[B, C]`."""
    classes = finished.data.classes
    weight = finished.model.class_weight.cpu()
    sets = list(finished.predictor.predict_each(features, logits, coverages))
    for row, scores in enumerate(logits):
        ranked = scores.argsort(descending=True).tolist()
        predicted = ranked[0]
        contribution = weight[predicted] * features[row]
        used = [
            f for f in contribution.argsort(descending=True).tolist() if weight[predicted, f] != 0
        ]
        yield (
            classes[predicted],
            round(scores.softmax(dim=0)[predicted].item(), 4),
            {
                f"{coverage:g}": [classes[c] for c in ranked if in_set[row, c]]
                for coverage, in_set in zip(coverages, sets, strict=True)
            },
            [
                {
                    "feature": f,
                    "activation": round(features[row, f].item(), 3),
                    "weight": round(weight[predicted, f].item(), 4),
                }
                for f in used
            ],
        )


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write the predictions as JSON, or as CSV with one line per image, by the file's suffix."""
    if path.suffix.lower() == ".json":
        write_json(path, [asdict(prediction) for prediction in predictions])
    else:
        write_atomically(path, lambda temporary: _write_csv(temporary, predictions))


def _write_csv(path: Path, predictions: Sequence[Prediction]) -> None:
    coverages = list(predictions[0].prediction_sets)
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file)
        sets = [f"prediction_set_{coverage}" for coverage in coverages]
        table.writerow(["file", "prediction", "probability", *sets, "features"])
        for p in predictions:
            members = [SEPARATOR.join(p.prediction_sets[coverage]) for coverage in coverages]
            features = " ".join(f"{f['feature']}={f['activation']:g}" for f in p.features)
            table.writerow([p.file, p.prediction, p.probability, *members, features])


if __name__ == "__main__":
    run_script(main)
