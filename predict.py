"""Predict images with a finished model: class, prediction sets and the features behind them.

    python predict.py --folder RUN_FOLDER --image photo.jpg more_photos/ --output predictions.csv predictions.html

Tables are CSV or JSON; an HTML file is a page that explains every image.

The run folder is enough, the training images are not needed. Photographs should show what the training images
show: a model of cropped images wants them cropped.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from configs.arguments import flag
from configs.errors import RunError
from configs.files import check_writable
from configs.finished_run import finished_run, refuse_to_replace_inputs
from configs.hardware import Hardware
from configs.paths import expanded, expanded_default
from configs.script import one_line, run_script
from dataset_classes.contents import read_content
from dataset_classes.registry import listed_images
from prediction.images import find_images
from prediction.model import open_model, training_table
from prediction.predictions import Prediction, predict, write_predictions
from visualization.prediction_page import PredictionPage

log = logging.getLogger(__name__)

PREDICTION = "prediction"
TABLES, PAGE = (".csv", ".json"), ".html"


def _output_file(text: str) -> str:
    path = Path(expanded(text))
    if path.suffix.lower() not in (*TABLES, PAGE) or path.is_dir():
        raise ValueError(f"an output must be a {', '.join(TABLES)} or {PAGE} file, not {text}")
    return str(path)


@dataclass(frozen=True)
class PredictFlags:
    """Which images to predict, and where to write the predictions."""

    image: tuple[str, ...] = flag(
        PREDICTION,
        (),
        "image files, folders with images at any depth, patterns, or .csv tables of files",
        parse=str,
        many=True,
    )
    output: tuple[str, ...] = flag(
        PREDICTION,
        ("predictions.csv",),
        "files to write: .csv, .json, or .html for a page that explains every image",
        parse=_output_file,
        many=True,
    )


def main() -> None:
    """Predict every image that can be read; exit with 1 if some could not."""
    settings, run, flags = finished_run(None, __doc__, PredictFlags)
    outputs = list(map(Path, dict.fromkeys(flags.output)))
    refuse_to_replace_inputs(outputs, run, map(expanded_default, flags.image))
    for path in outputs:
        check_writable(path)
    files = find_images(flags.image)
    hardware = Hardware.choose(settings.device, settings.workers)
    finished = open_model(settings, run, hardware)
    if (known := listed_images(settings, run)) is not None:
        known.warn_of_trained(files, [read_content(file).digest for file in files])
    page = None
    if any(path.suffix.lower() == PAGE for path in outputs):
        table = training_table(settings, run, finished, hardware)
        page = PredictionPage(settings, finished, table, files, hardware)
    look = None if page is None else page.add
    found = list(predict(finished, files, settings.coverage, hardware, look))
    predictions = [entry for entry in found if isinstance(entry, Prediction)]
    unreadable = [entry for entry in found if isinstance(entry, RunError)]
    for error in unreadable:
        log.warning("%s", one_line(error))
    if not predictions:
        raise RunError(f"none of the {len(files)} images can be read, the first: {unreadable[0]}")
    for path in outputs:
        if page is not None and path.suffix.lower() == PAGE:
            page.write(path)
        else:
            write_predictions(path, predictions)
    written = ", ".join(map(str, outputs))
    log.info("%d image(s) predicted with %s of %s: %s", len(predictions), settings.model_name, run.path, written)
    if unreadable:
        raise RunError(
            f"{len(unreadable)} of {len(files)} images could not be read and are not in {written} (named above)"
        )


if __name__ == "__main__":
    run_script(main)
