"""A finished model with everything that prediction needs."""

from dataclasses import dataclass

from architectures.backbones.registry import backbone_of
from architectures.classifier import InterpretableClassifier
from architectures.finished_model import load_finished_model
from architectures.inference import FeatureTable, feature_table, saved_feature_table
from configs.errors import RunError
from configs.hardware import Hardware
from configs.open_run import OpenRun
from configs.run_folder import RunFolder
from configs.settings import Settings
from conformal.calibrate import calibrate, saved_calibration
from conformal.predictor import ConformalPredictor
from dataset_classes.description import DataDescription
from dataset_classes.registry import DataSplits, data_of_model


@dataclass(frozen=True)
class FinishedModel:
    """A model, the description of its data, and its calibrated predictor."""

    model: InterpretableClassifier
    data: DataDescription
    predictor: ConformalPredictor


def open_model(settings: Settings, run: RunFolder, hardware: Hardware) -> FinishedModel:
    """The model of a run with all that prediction needs, from its folder or else the dataset; RunError without both."""
    data, predictor = DataDescription.recorded(settings, run), saved_calibration(settings, run)
    # A calibration that is missing or outdated is made again from saved features, without the dataset.
    table = saved_feature_table(settings, run, "test") if predictor is None else None
    splits = None
    if data is None or (predictor is None and table is None):
        lacks = "class names (no model card)" if data is None else "calibration of this model (*_Calibration.npz)"
        splits = _needed_data(settings, run, f"has no {lacks}")
        data = DataDescription.of(splits.test)
    model = load_finished_model(settings, run, data.classes, hardware)
    if predictor is None:
        opened = OpenRun(settings, run, hardware, splits if table is None else None)
        if table is None:
            table = feature_table(opened, model, "test")
        predictor = calibrate(opened, model.class_weight.cpu(), table)
    return FinishedModel(model, data, predictor)


def training_table(settings: Settings, run: RunFolder, finished: FinishedModel, hardware: Hardware) -> FeatureTable:
    """The model's feature table on its training images, from its folder or else the dataset; RunError without both."""
    table = saved_feature_table(settings, run, "train")
    if table is not None:
        return table
    splits = _needed_data(settings, run, "lacks the features that heatmaps are scaled by (*_Features_train.npz)")
    return feature_table(OpenRun(settings, run, hardware, splits), finished.model, "train")


def _needed_data(settings: Settings, run: RunFolder, why: str) -> DataSplits:
    """The data of a finished model; if they are missing, the RunError begins with why they are needed."""
    try:
        return data_of_model(settings, run, backbone_of(settings))
    except RunError as error:
        raise RunError(f"{run.path} {why}, so the dataset is needed: {error}") from None
