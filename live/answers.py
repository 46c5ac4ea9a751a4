"""Answers to the live page's questions, computed by the code that also writes the report."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from architectures.activations import strongest_first
from conformal import HierarchicalPredictor
from conformal.predictor import EVERY_PERCENT
from live.crops import detected, salient
from live.uploads import Box, UploadError, cut, greyed
from visualization.class_tree import joints_of
from visualization.comparison import comparison_columns
from visualization.explained_run import ExplainedRun
from visualization.explainer import ClassImages, SeenImage
from visualization.heatmaps import certainty
from visualization.local_explanation import LocalExplanation

COVERAGES = [*EVERY_PERCENT, 1.0]
NEAREST = 4  # classes that the prediction is compared with
SHOWN_SIDE = 800  # pixels of a test image on the page
LISTED = 5  # most probable classes


@dataclass(frozen=True)
class Question:
    """A question about a photo."""

    photo: Image.Image  # in RGB
    name: str
    label: int | None = None  # its true class, if known
    crop: Box | None = None  # the part to look at
    grey: Box | None = None  # the part to grey out first
    off: tuple[int, ...] = ()  # features that count as absent


class LiveModel:
    """A finished run that answers questions, one at a time; `start`: the coverage that the page starts with."""

    def __init__(self, explained: ExplainedRun, predictor: HierarchicalPredictor, start: float):
        self.explained, self.predictor = explained, predictor
        self.explainer = explained.explainer
        self._images = ClassImages(self.explainer, explained.data.train_unaugmented, explained.tables.train)
        self._report = explained.report("live", self._images)
        self._report.set_coverages(predictor, COVERAGES, start)
        # A feature that is switched off is as weak as in the training image that shows least of it.
        self._absent = explained.tables.train.features.min(dim=0).values.numpy()

    def page(self) -> dict:
        """The page before any photo: classes, features, pictures, test images, the map of the classes."""
        test, names = self.explained.data.test, self.explainer.class_names
        return {
            **self._report.page,
            "pictures": self._report.pictures,
            "tests": [f"Test image {i}: {names[c]}" for i, c in enumerate(test.labels.tolist())],
            "map": class_map(self.explainer.weight),
            "cropped": self.explained.settings.crop,
        }

    def test_image(self, index: int) -> Question:
        """A test image as a question; UploadError if there is none with this index."""
        test = self.explained.data.test
        if not 0 <= index < len(test):
            raise UploadError(f"there is no test image {index}; the last is {len(test) - 1}")
        label = int(test.labels[index])
        return Question(test.image(index), f"Test image {index}", label)

    @staticmethod
    def photo(image: Image.Image) -> Question:
        """Somebody's photo as a question."""
        return Question(image, "Your photo")

    def test_picture(self, index: int) -> bytes:
        """A test image as JPEG, no larger than a page shows it; errors as in `test_image`."""
        picture = self.test_image(index).photo
        picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    def answer(self, question: Question) -> dict:
        """The explanation of a photo, in the form of the report's images, plus data for what-if questions.

        Raises:
            UploadError: if a feature does not exist.
        """
        seen = self.without(self.see(question), question.off)
        explanation = LocalExplanation(
            name=question.name,
            seen=seen,
            predictor=self.predictor,
            coverage=COVERAGES[0],
            n_nearest=NEAREST,
            explainer=self.explainer,
            colours=self.explained.colours,
            class_images=self._images,
        )
        probabilities = torch.from_numpy(seen.logits).softmax(dim=0)
        columns, _ = explanation.columns
        return {
            **self._report.image(explanation, "photo", question.label),
            "probabilities": [
                [c, round(probabilities[c].item(), 4)] for c in strongest_first(probabilities)[:LISTED].tolist()
            ],
            "activations": [round(float(a), 3) for a in seen.features],
            "off": list(question.off),
            "pictures": {
                "photo": self._report.picture(seen, range(len(seen.features))),
                **self._class_pictures(explanation.classes, columns),
            },
        }

    def comparison(self, classes: Sequence[int]) -> dict:
        """Classes side by side; UploadError if they are not two or more existing classes."""
        known = range(len(self.explainer.class_names))
        if len(set(classes)) < 2 or not all(c in known for c in classes):
            raise UploadError("a comparison needs two different classes of the model")
        columns = comparison_columns(self.explainer.weight, classes)
        return {**self._report.comparison(classes, columns), "pictures": self._class_pictures(classes, columns)}

    def proposed_crop(self, photo: Image.Image) -> dict:
        """Where the object is in a photo: a proposal that the user can adjust."""
        found = detected(photo)
        return {"crop": found or salient(self.see(Question(photo, "")).feature_maps)}

    def see(self, question: Question) -> SeenImage:
        """The model's view of the selected part of a photo."""
        photo = cut(greyed(question.photo, question.grey), question.crop)
        return self.explainer.see(self.explained.data.test.transform(photo))

    def without(self, seen: SeenImage, off: Sequence[int]) -> SeenImage:
        """The model's view if some features were absent; UploadError if one does not exist."""
        if not off:
            return seen
        if not all(0 <= f < len(seen.features) for f in off):
            raise UploadError(f"the features are 0 to {len(seen.features) - 1}")
        features = seen.features.copy()
        features[list(off)] = np.minimum(features[list(off)], self._absent[list(off)])
        change = (features - seen.features) @ self.explainer.weight.T
        certainties = certainty(torch.from_numpy(features), self.explainer.active_means)
        return replace(seen, features=features, logits=seen.logits + change, certainties=certainties)

    def _class_pictures(self, classes: Sequence[int], columns: Sequence[int]) -> dict:
        return {
            f"class{c}": self._report.picture(self._images[c], columns) for c in classes if self._images[c] is not None
        }


def class_map(weight: np.ndarray) -> dict:
    """All classes as one tree: those that share the most features are joined first.

    Args:
        weight: class-feature weights, `[C, n]`, C at least 2.

    Returns:
        Nested nodes: `{"class": c}` for a leaf, else `{"shared": mean number of shared features, "children": [...]}`.
    """
    joints, most = joints_of(weight != 0)
    nodes: list[dict] = [{"class": c} for c in range(len(weight))]
    for one, other, distance, _ in joints:
        children = [nodes[int(one)], nodes[int(other)]]
        nodes.append({"shared": round(float(most - distance), 2), "children": children})
    return nodes[-1]
