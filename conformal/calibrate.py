"""Stage 4: calibration of the prediction sets on part of the test images."""

import logging

from torch import Tensor

from architectures.inference import FeatureTable
from configs.run_folder import Artefact, RunFolder, sha256
from configs.runs import calibration_file, feature_table_file, sparse_model_file
from configs.settings import Settings
from conformal.predictor import ConformalPredictor, HierarchicalPredictor, thr
from conformal.split import calibration_split

log = logging.getLogger(__name__)


def calibrate(
    settings: Settings, run: RunFolder, weight: Tensor, test: FeatureTable
) -> ConformalPredictor:
    """The calibrated predictor of a run, also left in the run folder.

    The hierarchy for CHiQPM and QPM; THR for Q-SENN and SLDD-Model, whose classes are not sets of features.

    Args:
        settings: the run's; its seed draws the calibration images.
        run: where the calibration is kept.
        weight: class-feature weights, `[C, n]`.
        test: the sparse model's feature table on the test images.
    """
    artefact = _artefact(settings, run)
    if artefact.is_current():
        log.info("Calibration: %s is reused.", artefact.path)
        return _load(settings, artefact)
    rows, _ = calibration_split(test.labels, settings.seed)
    calibration = test[rows]
    predictor = HierarchicalPredictor(weight) if settings.head.binary else thr()
    predictor.calibrate(calibration.features, calibration.logits, calibration.labels)
    artefact.write(predictor.save)
    log.info("Calibration: %d of %d test images, drawn per class.", len(rows), len(test))
    return predictor


def saved_calibration(settings: Settings, run: RunFolder) -> ConformalPredictor | None:
    """The calibrated predictor that a run left for its model, without a look at any data; None if there is none."""
    table = run.manifest().get(feature_table_file(settings, "test"))
    if table is None or table["settings"]["model"] != sha256(run.file(sparse_model_file(settings))):
        return None
    artefact = _artefact(settings, run)
    return _load(settings, artefact) if artefact.is_current() else None


def _artefact(settings: Settings, run: RunFolder) -> Artefact:
    table = run.digest(feature_table_file(settings, "test"))
    return run.artefact(calibration_file(settings), {"table": table, "seed": settings.seed})


def _load(settings: Settings, artefact: Artefact) -> ConformalPredictor:
    if settings.head.binary:
        return HierarchicalPredictor.load(artefact.path)
    return thr().restore(artefact.path)
