"""Stage 4: calibration of the prediction sets on part of the test images."""

import logging

from torch import Tensor

from architectures.inference import FeatureTable
from configs.run_folder import RunFolder
from configs.runs import calibration_file, feature_table_file
from configs.settings import Settings
from conformal.predictor import HierarchicalPredictor
from conformal.split import calibration_split

log = logging.getLogger(__name__)


def calibrate(
    settings: Settings, run: RunFolder, weight: Tensor, test: FeatureTable
) -> HierarchicalPredictor | None:
    """The calibrated predictor of a run, also left in the run folder.

    None for Q-SENN and SLDD-Model: their classes are no sets of features, so their predictions have no hierarchy.

    Args:
        settings: the run's; its seed draws the calibration images.
        run: where the calibration is kept.
        weight: class-feature weights, `[C, n]`.
        test: the sparse model's feature table on the test images.
    """
    if not settings.head.binary:
        return None
    artefact = run.artefact(
        calibration_file(settings),
        {"table": run.digest(feature_table_file(settings, "test")), "seed": settings.seed},
    )
    if artefact.is_current():
        log.info("Calibration: %s is reused.", artefact.path)
        return HierarchicalPredictor.load(artefact.path)
    rows, _ = calibration_split(test.labels, settings.seed)
    calibration = test[rows]
    predictor = HierarchicalPredictor(weight)
    predictor.calibrate(calibration.features, calibration.logits, calibration.labels)
    artefact.write(predictor.save)
    log.info("Calibration: %d of %d test images, drawn per class.", len(rows), len(test))
    return predictor
