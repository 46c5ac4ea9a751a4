"""Evaluate a finished run again, or a downloaded model.

    python -m evaluation RUN_FOLDER [flags of main.py]

Settings are those recorded in the folder's config.json; flags go before them. A downloaded model has no config.json:
name its --dataset, --arch and --model_type.
"""

import logging
import sys
from pathlib import Path

from architectures.finished_model import load_finished_model
from architectures.inference import feature_tables
from configs.errors import UsageError
from configs.hardware import Hardware
from configs.run_folder import read_json
from configs.runs import dense_results_file, finished_run, recorded_flags
from configs.script import run_script
from configs.settings import parse_settings
from conformal.calibrate import calibrate
from dataset_classes.registry import load_data
from evaluation.evaluate import evaluate_sparse
from evaluation.results import summary

log = logging.getLogger(__name__)


def main() -> None:
    """Calibrate and evaluate the sparse model of a run folder; dense results are taken as they are."""
    settings, run = finished_run(run_settings(sys.argv[1:]))
    hardware = Hardware.choose(settings.device, settings.workers)
    data = load_data(
        settings.dataset, settings.data_root, img_size=settings.img_size, crop_gt=settings.crop
    )
    model = load_finished_model(settings, run, data.train.classes, hardware)
    with run.locked():
        tables = feature_tables(settings, run, model, data, hardware)
        calibrate(settings, run, model.class_weight.cpu(), tables.test)
        results = evaluate_sparse(settings, run, model, tables, data, again=True)
    dense_results = read_json(run.file(dense_results_file())) or {}
    log.info(summary(settings, run, dense_results, results))


def run_settings(argv: list[str]):
    """The settings of a run folder, from the command line and its config.json.

    Raises:
        UsageError: if no folder is named or a flag does not fit.
    """
    folder, *flags = argv or [""]
    if folder in ("-h", "--help"):
        flags, folder = [folder], "."
    if not Path(folder).is_dir() or not folder:
        raise UsageError(f"no run folder {folder!r}; use: python -m evaluation RUN_FOLDER [flags]")
    (settings,) = parse_settings([*recorded_flags(folder), *flags, "--folder", folder], __doc__)
    return settings


if __name__ == "__main__":
    run_script(main)
