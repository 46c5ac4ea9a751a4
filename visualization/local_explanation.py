"""The four figures that explain one prediction at one coverage, in the same colours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from matplotlib.figure import Figure

from conformal import HierarchicalPredictor
from conformal.predictor import ConformalPredictor
from visualization.class_grid import ColumnGroup, class_grid
from visualization.colours import FeatureColours
from visualization.comparison import local_columns, nearest_classes
from visualization.explainer import Explainer, SeenImage
from visualization.tree import explanation_tree
from visualization.tree_figure import tree_figure
from visualization.tree_layout import tree_with_set


@dataclass(frozen=True)
class LocalExplanation:
    """One image, its prediction set, and the classes that the prediction is compared with."""

    name: str
    seen: SeenImage
    predictor: ConformalPredictor  # calibrated; without a hierarchy there are no trees
    coverage: float  # targeted share of images whose set holds the true class
    n_nearest: int  # largest number of classes to compare with
    explainer: Explainer
    colours: FeatureColours
    class_images: Mapping[int, SeenImage | None]

    @cached_property
    def activations(self) -> np.ndarray:
        """Features as the hierarchy counts them, `[n]`; without one, their contributions to the predicted class."""
        if isinstance(self.predictor, HierarchicalPredictor):
            return self.predictor.activations(self.seen.features).numpy()
        return self.explainer.weight[self.seen.predicted] * self.seen.features

    def sets(self, coverages: Sequence[float]) -> list[frozenset[int]]:
        """Prediction sets at ascending coverages; at 1 all classes."""
        features, logits = (torch.from_numpy(x[None]) for x in (self.seen.features, self.seen.logits))
        below = [coverage for coverage in coverages if coverage < 1]
        found = self.predictor.predict_each(features, logits, below)
        sets = [frozenset(in_set[0].nonzero().flatten().tolist()) for in_set in found]
        return sets + [frozenset(range(logits.shape[1]))] * (len(coverages) - len(below))

    @cached_property
    def prediction_set(self) -> frozenset[int]:
        """The classes in the prediction set at `coverage`."""
        return self.sets([self.coverage])[0]

    @cached_property
    def classes(self) -> list[int]:
        """The predicted class, then the classes nearest to it."""
        return nearest_classes(self.seen.logits, self.explainer.weight, self.prediction_set, self.n_nearest)

    @cached_property
    def columns(self) -> tuple[list[int], Sequence[ColumnGroup]]:
        """The features to show, and their groups."""
        return local_columns(self.activations, self.explainer.weight, self.classes)

    def figures(self) -> dict[str, Figure]:
        """All figures, by file name."""
        return {
            "heatmaps": self.heatmaps(),
            "class_comparison": self.class_comparison(),
            "local_tree": self.tree("local"),
            "global_tree": self.tree("global"),
        }

    def heatmaps(self) -> Figure:
        """The image with the heatmaps of its features, strongest first."""
        columns, groups = self.columns
        row = self.explainer.row(self.seen, columns, self.name, self.seen.predicted)
        return class_grid([row], columns, self.colours.distinct(columns), groups)

    def class_comparison(self) -> Figure:
        """The predicted class (bold) and the classes nearest to it, each represented by a training image."""
        columns, groups = self.columns
        names = self.explainer.class_names
        rows = [
            self.explainer.row(self.class_images[c], columns, names[c], c, bold=c == self.seen.predicted)
            for c in self.classes
            if self.class_images[c] is not None
        ]
        return class_grid(rows, columns, self.colours.distinct(columns), groups)

    def tree(self, scope: str) -> Figure:
        """The hierarchy of similar classes and of the prediction set (`local`), or of all classes (`global`)."""
        seen, weight = self.seen, self.explainer.weight
        if scope == "local":
            tree = tree_with_set(self.activations, seen.logits, weight, self.prediction_set)
        else:
            tree = explanation_tree(self.activations, seen.logits, weight, scope=scope)
        return tree_figure(
            tree,
            seen.logits,
            prediction_set=self.prediction_set,
            coverage=self.coverage,
            level=level_of(self.predictor, self.coverage),
            class_names=self.explainer.class_names,
            colours=self.colours.distinct(self.columns[0]),
            palette=self.colours.palette,
        )


def level_of(predictor: ConformalPredictor, coverage: float) -> int | None:
    """The deepest level of the hierarchy that still covers, 0 if sets hold every class; None without a hierarchy."""
    if not isinstance(predictor, HierarchicalPredictor):
        return None
    holds_every_class = coverage == 1 or predictor.threshold(coverage) == math.inf
    return 0 if holds_every_class else predictor.level(coverage)
