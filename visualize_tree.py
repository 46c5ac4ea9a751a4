"""Explain the prediction of single images: heatmaps, class comparison and hierarchical tree.

    python visualize_tree.py --folder RUN_FOLDER

Images are test images by index, or any image files; by default a few test images of the run.
"""

import configs  # noqa: F401, I001  first, so that a missing numpy is told in one line
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.arguments import Range, flag, within
from configs.errors import UsageError
from configs.finished_run import finished_run
from configs.paths import expanded
from configs.script import progress, run_script
from conformal import HierarchicalPredictor, calibration_split
from conformal.predictor import EVERY_PERCENT
from dataset_classes.image_files import read_image
from visualization.explained_run import ExplainedRun, open_hierarchical_run
from visualization.explainer import ClassImages, SeenImage
from visualization.figure import save
from visualization.flags import EXPLANATION, FigureFlags
from visualization.local_explanation import LocalExplanation

log = logging.getLogger(__name__)

DEFAULT_IMAGES = 5


@dataclass(frozen=True)
class TreeFlags(FigureFlags):
    """Which images to explain."""

    index: tuple[int, ...] = flag(EXPLANATION, (), "test images to explain, by index", parse=int, many=True)
    image: tuple[str, ...] = flag(EXPLANATION, (), "image files to explain", parse=expanded, many=True)
    nearest: int = flag(EXPLANATION, 3, "classes to compare the predicted class with", parse=within(int, Range()))


@dataclass(frozen=True)
class Sample:
    """An image to explain: its name, its folder, and its true class, if known."""

    name: str
    folder: str
    seen: SeenImage
    label: int | None = None

    def verdict(self, class_names: Sequence[str]) -> str:
        """The predicted class, and whether it is true, in the words of the report."""
        truth = "" if self.label is None else f"; true class: {class_names[self.label]}"
        correct = self.label == self.seen.predicted
        return f"predicted {class_names[self.seen.predicted]}{' (correct)' if correct else truth}"


def main() -> None:
    """Four figures per image and coverage, and on request a report of all images."""
    settings, run, flags = finished_run(None, __doc__, TreeFlags)
    explained, predictor = open_hierarchical_run(settings, run, flags.palette)
    samples = chosen_samples(flags, explained)
    class_images = ClassImages(explained.explainer, explained.data.train_unaugmented, explained.tables.train)

    def explanation(sample: Sample, coverage: float) -> LocalExplanation:
        return LocalExplanation(
            name=sample.name,
            seen=sample.seen,
            predictor=predictor,
            coverage=coverage,
            n_nearest=flags.nearest,
            explainer=explained.explainer,
            colours=explained.colours,
            class_images=class_images,
        )

    output = flags.folder(settings, run) / "CHiQPMExplanations"
    for sample in progress(samples, desc="Explanations"):
        for coverage in settings.coverage:
            folder = output / sample.folder / f"acc_{coverage:g}"
            for name, figure in explanation(sample, coverage).figures().items():
                save(figure, folder / name, flags.format)
    for sample in samples:
        log.info("%s: %s", sample.name, sample.verdict(explained.explainer.class_names))
    log.info("%s: images explained: %d, in %s", settings.model_name, len(samples), output)
    if flags.report:
        path = output / "report.html"
        write_report(explained, predictor, class_images, samples, explanation, path)
        log.info("Report: %s", path)


def chosen_samples(flags: TreeFlags, explained: ExplainedRun) -> list[Sample]:
    """The images asked for, or by default evenly spread test images that were not used for calibration.

    Raises:
        UsageError: if there is no such test image, or two files have the same name.
        RunError: if an image cannot be read.
    """
    test, see = explained.data.test, explained.explainer.see
    indices: Sequence[int] = flags.index
    if not flags.index and not flags.image:
        _, fresh = calibration_split(explained.tables.test.labels, explained.settings.seed)
        indices = fresh[np.linspace(0, len(fresh) - 1, DEFAULT_IMAGES).round().astype(int)].tolist()
    samples = []
    for index in dict.fromkeys(indices):
        if not 0 <= index < len(test):
            raise UsageError(f"--index {index}: the test images are 0 to {len(test) - 1}")
        seen, label = explained.explainer.look(test, index), int(test.labels[index])
        samples.append(Sample(f"Test image {index}", f"SampleIndex_{index}", seen, label))
    for path in _unique_names(dict.fromkeys(flags.image)):
        image = test.transform(read_image(path, scale=test.scale))
        samples.append(Sample(Path(path).stem, f"Image_{Path(path).stem}", see(image)))
    return samples


def _unique_names(paths: Collection[str]) -> list[str]:
    """The paths; UsageError if one is a folder, or two files would share a folder of figures."""
    for path in paths:
        if Path(path).is_dir():
            raise UsageError(f"--image {path} is a folder; name the image files in it")
    by_name = {Path(path).stem: path for path in paths}
    if len(by_name) < len(paths):
        raise UsageError("--image: two files have the same name; explain them in separate calls")
    return list(by_name.values())


def write_report(
    explained: ExplainedRun,
    predictor: HierarchicalPredictor,
    class_images: ClassImages,
    samples: Sequence[Sample],
    explanation: Callable[[Sample, float], LocalExplanation],
    path: Path,
) -> None:
    """Write the page with all images, classes and features, and a slider of coverages."""
    report = explained.report("explanations", class_images)
    asked = explained.settings.coverage
    coverages, start = sorted({*EVERY_PERCENT, *asked}), asked[0]
    report.set_coverages(predictor, coverages, start)
    for sample in samples:
        report.add_image(explanation(sample, start), sample.label)
    report.write(path)


if __name__ == "__main__":
    run_script(main)
