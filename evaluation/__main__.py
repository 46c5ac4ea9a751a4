"""Evaluate a finished run again, or a downloaded model.

    python -m evaluation RUN_FOLDER

This is short for --folder RUN_FOLDER: settings are those of the run, and flags override them. A downloaded model does
not record its settings: give its --dataset, --arch, --model_type, --img_size, --reduced_strides and, where images have
boxes, --cropGT. Results of a downloaded model, or on other images than the model's own, go to
Evaluated_Results_*.json, so that the existing ones stay.
"""

import logging
import sys
from dataclasses import dataclass

from architectures.inference import feature_tables
from configs.arguments import flag, with_first
from configs.finished_run import finished_run
from configs.records import is_downloaded
from configs.run_files import DENSE_RESULTS_FILE
from configs.script import run_script
from configs.settings import OUTPUT
from conformal.calibrate import calibrate
from dataset_classes.registry import open_finished
from evaluation.class_pages import diagnose
from evaluation.evaluate import evaluate_sparse
from evaluation.faithfulness import IMAGES, faithfulness
from evaluation.results import recorded_results, summary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationFlags:
    """Flags that only this script has."""

    per_class: bool = flag(
        OUTPUT, False, "also show which classes are confused and why: tables, a calibration curve, a page per class"
    )
    faithfulness: bool = flag(
        OUTPUT, False,
        f"also measure whether heatmaps mark what the model looks at: {IMAGES} test images are blurred there, and the "
        "model's weights are shuffled (some 60 forward passes per image)",
    )  # fmt: skip


def main() -> None:
    """Calibrate and evaluate the sparse model of a run folder; dense results are not measured again."""
    arguments = with_first("folder", sys.argv[1:])
    settings, folder, flags = finished_run(arguments, __doc__, EvaluationFlags)
    run, model = open_finished(settings, folder)
    with folder.locked():
        tables = feature_tables(run, model)
        calibrate(run, model.class_weight.cpu(), tables.test)
        beside = bool(run.data.others) or is_downloaded(settings, folder)
        more = {"Faithfulness": faithfulness(run, model)} if flags.faithfulness else {}
        results = evaluate_sparse(run, model, tables, again=True, beside=beside, more=more)
        if flags.per_class:
            pages = folder.file(f"{run.beside('test')}{settings.model_name}_Classes")
            log.info(diagnose(pages, tables.test, model.class_weight, run.data.test))
    dense_results = {} if run.data.others else recorded_results(folder.file(DENSE_RESULTS_FILE))
    log.info(summary(settings, folder, dense_results, results))


if __name__ == "__main__":
    run_script(main)
