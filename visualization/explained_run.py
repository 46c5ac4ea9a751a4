"""A finished run, opened for explaining: the common beginning of both explanation scripts."""

from dataclasses import dataclass

from architectures.backbones.registry import backbone_of
from architectures.finished_model import load_finished_model
from architectures.inference import FeatureTables, feature_tables
from configs.fonts import prepare_fonts
from configs.hardware import Hardware
from configs.run_folder import RunFolder
from configs.settings import Settings
from dataset_classes.registry import DataSplits, data_of
from visualization.colours import FeatureColours
from visualization.explainer import ClassImages, Explainer
from visualization.report import ReportBuilder


@dataclass(frozen=True)
class ExplainedRun:
    """A finished run with its data and model loaded.

    Attributes:
        settings: those the model was made with.
        data: its images.
        tables: the model's feature tables.
        explainer: the model.
        colours: of its features.
    """

    settings: Settings
    data: DataSplits
    tables: FeatureTables
    explainer: Explainer
    colours: FeatureColours

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


def open_run(settings: Settings, run: RunFolder, palette: str) -> ExplainedRun:
    """A finished run with all that explaining needs; feature tables are made where they are missing.

    Raises:
        RunError: if its model or its images cannot be read.
    """
    hardware = Hardware.choose(settings.device, settings.workers)
    data = data_of(settings, backbone_of(settings))
    model = load_finished_model(settings, run, data.train.classes, hardware)
    tables = feature_tables(settings, run, model, data, hardware)
    prepare_fonts(data.train.classes)
    explainer = Explainer(model, hardware, tables.train, data.train)
    colours = FeatureColours(explainer.weight, palette)
    return ExplainedRun(settings, data, tables, explainer, colours)
