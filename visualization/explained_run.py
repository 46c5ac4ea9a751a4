"""A finished run, opened for explaining: the common beginning of the scripts that explain."""

from dataclasses import dataclass

from architectures.backbones.registry import backbone_of
from architectures.finished_model import load_finished_model
from architectures.inference import FeatureTables, feature_tables
from configs.errors import UsageError
from configs.fonts import prepare_fonts
from configs.hardware import Hardware
from configs.open_run import OpenRun
from configs.run_folder import RunFolder
from configs.settings import Settings
from conformal import HierarchicalPredictor
from conformal.calibrate import calibrate
from dataset_classes.description import DataDescription
from dataset_classes.registry import DataSplits, data_of_model
from visualization.colours import FeatureColours
from visualization.explainer import ClassImages, Explainer
from visualization.report import ReportBuilder


@dataclass(frozen=True)
class ExplainedRun:
    """A finished run with its data and model loaded.

    Attributes:
        run: the run.
        tables: the model's feature tables.
        explainer: the model.
        colours: of its features.
    """

    run: OpenRun
    tables: FeatureTables
    explainer: Explainer
    colours: FeatureColours

    @property
    def settings(self) -> Settings:
        """Those the model was made with."""
        return self.run.settings

    @property
    def data(self) -> DataSplits:
        """Its images."""
        return self.run.data

    def report(self, subject: str, images: ClassImages) -> ReportBuilder:
        """A page about the run, begun: its title, and all features on the training images.

        Args:
            subject: what it is about.
            images: that show the classes.
        """
        title = f"{self.settings.model_type} on {self.settings.dataset}: {subject}"
        report = ReportBuilder(title, self.explainer, self.colours, images)
        report.add_features(self.data.train_plain, self.tables.train)
        return report


def open_run(settings: Settings, folder: RunFolder, palette: str) -> ExplainedRun:
    """A finished run with all that explaining needs; feature tables are made where they are missing.

    Raises:
        RunError: if its model or its images cannot be read.
    """
    hardware = Hardware.choose(settings.device, settings.workers)
    data = data_of_model(settings, folder, backbone_of(settings))
    model = load_finished_model(settings, folder, data.train.classes, hardware)
    run = OpenRun(settings, folder, hardware, data)
    tables = feature_tables(run, model)
    prepare_fonts(data.train.classes)
    explainer = Explainer(model, hardware, tables.train, DataDescription.of(data.test))
    colours = FeatureColours(explainer.weight, palette)
    return ExplainedRun(run, tables, explainer, colours)


def open_hierarchical_run(
    settings: Settings, folder: RunFolder, palette: str
) -> tuple[ExplainedRun, HierarchicalPredictor]:
    """A finished run as by `open_run`, and its calibrated hierarchy.

    Raises:
        UsageError: if the model's classes are not sets of features.
        RunError: as `open_run`.
    """
    if not settings.kind.hierarchical:
        raise UsageError(
            f"the hierarchy needs classes that are sets of features (chiqpm or qpm); {settings.model_type} has "
            "signed weights: use compare_classes.py"
        )
    explained = open_run(settings, folder, palette)
    weight = explained.explainer.model.class_weight.cpu()
    predictor = calibrate(explained.run, weight, explained.tables.test)
    assert isinstance(predictor, HierarchicalPredictor)
    return explained, predictor
