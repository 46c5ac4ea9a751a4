"""A finished run, opened for explanations: the common start of the scripts that explain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from architectures.inference import FeatureTables, feature_tables
from configs.errors import UsageError
from configs.fonts import prepare_fonts
from configs.open_run import OpenRun
from configs.run_folder import RunFolder
from configs.settings import Settings
from conformal import HierarchicalPredictor
from conformal.calibrate import calibrate
from dataset_classes.description import DataDescription
from dataset_classes.registry import DataSplits, open_finished
from evaluation.part_purity import UsualPart, usual_parts
from visualization.class_grid import RIGHT_PART
from visualization.colours import FeatureColours
from visualization.explainer import ClassImages, Explainer
from visualization.report import ReportBuilder


@dataclass(frozen=True)
class ExplainedRun:
    """A finished run with its data and model loaded."""

    run: OpenRun
    tables: FeatureTables
    explainer: Explainer
    colours: FeatureColours
    # The part on which the peak of every feature lies most often in test images, if parts are known
    usual_parts: dict[int, UsualPart]

    @property
    def settings(self) -> Settings:
        """The settings that the model was made with."""
        return self.run.settings

    @property
    def data(self) -> DataSplits:
        """The images."""
        return self.run.data

    def differing_part(self, classes: Sequence[int]) -> int | None:
        """The only part in which two classes differ; None if there is no such part or it is unknown."""
        looks = getattr(self.data.test, "class_parts", None)
        if looks is None or len(classes) != 2:
            return None
        differing = np.flatnonzero(looks[classes[0]] != looks[classes[1]])
        return int(differing[0]) if len(differing) == 1 else None

    def expected(self, classes: Sequence[int], label: int) -> dict[int, int]:
        """For features that only class `label` has, the part on which they should lie; see `SeenImage.marks`."""
        part, has = self.differing_part(classes), self.explainer.weight != 0
        own = has[label] & ~has[[c for c in classes if c != label]].any(axis=0)
        return {} if part is None else dict.fromkeys(np.flatnonzero(own).tolist(), part)

    def right_part(self, classes: Sequence[int]) -> str:
        """The part on which a peak has to lie for a tick in a comparison of classes."""
        part = self.differing_part(classes)
        if part is None:
            return RIGHT_PART
        name = self.data.test.keypoints().names[part]
        return f"the {name}, the only difference (other features: on their cause)"

    def trust(self, classes: Sequence[int]) -> str:
        """A sentence on how reliably the features that separate some classes lie on one part."""
        has = self.explainer.weight[list(classes)] != 0
        telling = np.flatnonzero(has.any(axis=0) & ~has.all(axis=0)).tolist()
        said = [
            f"that of feature {f} on the {self.usual_parts[f].name} in {self.usual_parts[f].share:.0%}"
            for f in telling
            if f in self.usual_parts
        ]
        return f"Peaks on test images: {', '.join(said)}." if said else ""

    def report(self, subject: str, images: ClassImages) -> ReportBuilder:
        """The start of a page about the run: its title, and all features on the training images."""
        title = f"{self.settings.model_type} on {self.settings.dataset}: {subject}"
        report = ReportBuilder(title, self.explainer, self.colours, images)
        report.add_features(self.data.train_unaugmented, self.tables.train, self.usual_parts)
        return report


def open_run(settings: Settings, folder: RunFolder, palette: str) -> ExplainedRun:
    """A finished run with all that explanations need; RunError if its model or images cannot be read."""
    run, model = open_finished(settings, folder)
    data, tables = run.data, feature_tables(run, model)
    prepare_fonts(data.train.classes)
    explainer = Explainer(model, run.hardware, tables.train, DataDescription.of(data.test))
    colours = FeatureColours(explainer.weight, palette)
    keypoints = data.test.keypoints()
    usual = {} if keypoints is None else usual_parts(tables.test, keypoints)
    return ExplainedRun(run, tables, explainer, colours, usual)


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
            "signed weights: use compare_classes.py, or name another model of the folder with --model_type"
        )
    explained = open_run(settings, folder, palette)
    weight = explained.explainer.model.class_weight.cpu()
    predictor = calibrate(explained.run, weight, explained.tables.test)
    assert isinstance(predictor, HierarchicalPredictor)
    return explained, predictor
