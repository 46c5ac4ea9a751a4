"""A page that explains every predicted image, made during prediction and from the run folder alone."""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from architectures.classifier import ModelOutput
from architectures.inference import FeatureTable
from configs.hardware import Hardware
from configs.settings import Settings
from conformal.predictor import EVERY_PERCENT
from prediction.model import FinishedModel
from visualization.colours import FeatureColours
from visualization.explainer import Explainer
from visualization.local_explanation import LocalExplanation
from visualization.report import ReportBuilder


class PredictionPage:
    """The report on predicted images: heatmaps of the predicted class, prediction set, and tree if there is one.

    Args:
        settings: the model's; the page's slider starts at the first coverage.
        train: its feature table on the training images, for the features' active means.
        files: all images that may follow; the page names them relative to their common folder.
    """

    def __init__(
        self, settings: Settings, finished: FinishedModel, train: FeatureTable, files: Sequence[str], hardware: Hardware
    ):
        self._predictor, self._start = finished.predictor, settings.coverage[0]
        self._explainer = Explainer(finished.model, hardware, train, finished.data)
        self._colours = FeatureColours(self._explainer.weight)
        self._folder = os.path.commonpath([os.path.dirname(os.path.abspath(f)) for f in files])
        title = f"{settings.model_type} on {settings.dataset}: predictions"
        self._report = ReportBuilder(title, self._explainer, self._colours, {})
        coverages = sorted({*EVERY_PERCENT, *settings.coverage})
        self._report.set_coverages(self._predictor, coverages, self._start)

    def add(self, file: str, image: Tensor, output: ModelOutput) -> None:
        """Add a transformed image, `[3, S, S]`, with the model's output for it, `[1, ...]`."""
        explanation = LocalExplanation(
            name=os.path.relpath(os.path.abspath(file), self._folder),
            seen=self._explainer.seen(image, output),
            predictor=self._predictor,
            coverage=self._start,
            n_nearest=0,
            explainer=self._explainer,
            colours=self._colours,
            class_images={},
        )
        self._report.add_image(explanation, None)

    def write(self, path: Path) -> None:
        """Write the page."""
        self._report.write(path)
