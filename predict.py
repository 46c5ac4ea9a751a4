"""Predict images with a finished model: class, prediction sets and the features behind them, as CSV or JSON.

    python predict.py --folder RUN_FOLDER --image photo.jpg more_photos/

The run folder is enough, the training images are not needed. Photographs should show what the training images
show: a model of cropped images wants them cropped.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.arguments import flag
from configs.errors import RunError
from configs.hardware import Hardware
from configs.paths import expanded
from configs.run_folder import RunFolder
from configs.runs import finished_run
from configs.script import run_script
from configs.settings import Settings
from dataset_classes.registry import listed_images
from prediction.images import find_images
from prediction.model import open_model
from prediction.predictions import Prediction, predict, write_predictions

log = logging.getLogger(__name__)

PREDICTION = "prediction"


def _table_file(text: str) -> str:
    path = Path(expanded(text))
    if path.suffix.lower() not in (".csv", ".json") or path.is_dir():
        raise ValueError(f"the output must be a .csv or .json file, not {text}")
    return str(path)


@dataclass(frozen=True)
class PredictFlags:
    """Which images are predicted."""

    image: tuple[str, ...] = flag(
        PREDICTION,
        (),
        "image files, folders with images at any depth, patterns, or .csv tables of files",
        parse=str,
        many=True,
    )
    output: str = flag(
        PREDICTION, "predictions.csv", "file to write, .csv or .json", parse=_table_file
    )


def main() -> None:
    """Predict every image that can be read; exit with 1 if some could not."""
    settings, run, flags = finished_run(None, __doc__, PredictFlags)
    files = find_images(flags.image)
    hardware = Hardware.choose(settings.device, settings.workers)
    finished = open_model(settings, run, hardware)
    tell_trained(settings, run, files)
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


def tell_trained(settings: Settings, run: RunFolder, files: Sequence[str]) -> None:
    """Log how many of the images the model was trained on."""
    images = listed_images(settings, run)
    trained = [] if images is None else images.trained_on(files)
    if trained:
        log.warning(
            "%d of %d images were trained on, the first is %s: the model is too sure of them.",
            len(trained),
            len(files),
            trained[0],
        )


if __name__ == "__main__":
    run_script(main)
