"""Stage 4: calibration of the prediction sets on part of the test images."""

import logging
from pathlib import Path

from torch import Tensor

from architectures.inference import FeatureTable, recorded_table
from configs.open_run import OpenRun
from configs.run_files import calibration_file, feature_table_file
from configs.run_folder import Artefact, RunFolder
from configs.settings import Settings
from conformal.predictor import ConformalPredictor
from conformal.scores.hierarchical import SCORE, HierarchicalPredictor
from conformal.scores.thr import thr
from conformal.split import calibration_split

log = logging.getLogger(__name__)


def calibrate(run: OpenRun, weight: Tensor, test: FeatureTable) -> ConformalPredictor:
    """The calibrated predictor of a run, also saved in the run folder; the images themselves are not needed.

    The hierarchy for CHiQPM and QPM; THR for Q-SENN and SLDD-Model, whose classes are not sets of features.

    Args:
        run: its seed draws the calibration images.
        weight: class-feature weights, `[C, n]`.
        test: the sparse model's feature table on the test images.
    """
    settings = run.settings

    def make(path: Path) -> None:
        rows, _ = calibration_split(test.labels, settings.seed)
        calibration = test[rows]
        predictor = HierarchicalPredictor(weight) if settings.kind.hierarchical else thr()
        predictor.calibrate(calibration.features, calibration.logits, calibration.labels)
        predictor.save(path)
        log.info("Calibration: %d of %d test images, drawn per class.", len(rows), len(test))

    artefact = _artefact(settings, run.folder, run.beside("test"))
    return artefact.load_or_make(lambda path: _load(settings, path), make, what="Calibration")


def saved_calibration(settings: Settings, run: RunFolder) -> ConformalPredictor | None:
    """The calibrated predictor that a run saved for its model, without reading any data; None if there is none."""
    if recorded_table(settings, run, "test") is None:
        return None
    artefact = _artefact(settings, run)
    return _load(settings, artefact.path) if artefact.is_current() else None


def _artefact(settings: Settings, run: RunFolder, beside: str = "") -> Artefact:
    table = run.digest(beside + feature_table_file(settings, "test"))
    depends_on = {"table": table, "seed": settings.seed, "score": SCORE}
    return run.artefact(beside + calibration_file(settings), depends_on)


def _load(settings: Settings, path: Path) -> ConformalPredictor:
    if settings.kind.hierarchical:
        return HierarchicalPredictor.load(path)
    return thr().restore(path)
