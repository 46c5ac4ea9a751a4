"""Explain the prediction of single images: heatmaps, class comparison and hierarchical tree.

Images are test images by index, or any image file; by default a few test images of the run.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from architectures.finished_model import load_finished_model
from architectures.inference import feature_tables
from configs.arguments import flag
from configs.errors import UsageError
from configs.hardware import Hardware
from configs.runs import finished_run
from configs.script import run_script
from configs.settings import parse_settings
from conformal import HierarchicalPredictor
from conformal.calibrate import calibrate
from conformal.split import calibration_split
from dataset_classes.base import ImageDataset, read_image
from dataset_classes.registry import load_data
from visualization.colours import FeatureColours
from visualization.explainer import ClassImages, Explainer, SeenImage
from visualization.figure import save
from visualization.flags import EXPLANATION, FigureFlags
from visualization.local_explanation import LocalExplanation
from visualization.report import ReportBuilder

log = logging.getLogger(__name__)

DEFAULT_IMAGES = 5
SLIDER = np.arange(0.5, 1.0, 0.01).round(2).tolist()  # coverages of the report


def not_negative(text: str) -> int:
    """A count; ValueError below 0."""
    if int(text) < 0:
        raise ValueError(f"{text} is negative")
    return int(text)


@dataclass(frozen=True)
class TreeFlags(FigureFlags):
    """Which images are explained."""

    index: tuple[int, ...] = flag(
        EXPLANATION, (), "test images to explain, by index", parse=int, many=True
    )
    image: tuple[str, ...] = flag(EXPLANATION, (), "image files to explain", parse=str, many=True)
    nearest: int = flag(
        EXPLANATION, 3, "classes to compare the predicted class with", parse=not_negative
    )


@dataclass(frozen=True)
class Sample:
    """An image to explain: what it is called, its folder, and its true class, if known."""

    name: str
    folder: str
    seen: SeenImage
    label: int | None


def main() -> None:
    """Four figures per image and coverage, and on request a report of all images."""
    settings, flags = parse_settings(None, __doc__, TreeFlags)
    if not settings.head.binary:
        raise UsageError(
            f"the hierarchy needs classes that are sets of features (chiqpm or qpm); {settings.model_type} has "
            "signed weights: use compare_classes.py"
        )
    settings, run = finished_run(settings)
    hardware = Hardware.choose(settings.device, settings.workers)
    data = load_data(
        settings.dataset, settings.data_root, img_size=settings.img_size, crop_gt=settings.crop
    )
    model = load_finished_model(settings, run, data.train.classes, hardware)
    tables = feature_tables(settings, run, model, data, hardware)
    explainer = Explainer(model, hardware, tables.train, data.train)
    predictor = calibrate(settings, run, model.class_weight.cpu(), tables.test)
    colours = FeatureColours(explainer.weight, flags.palette)
    class_images = ClassImages(explainer, data.train_plain, tables.train)
    _, fresh = calibration_split(tables.test.labels, settings.seed)
    samples = chosen_samples(flags, data.test, explainer, fresh.tolist())

    def explanation(sample: Sample, coverage: float) -> LocalExplanation:
        return LocalExplanation(
            sample.name,
            sample.seen,
            prediction_set(predictor, sample.seen, coverage),
            coverage,
            predictor.level(coverage),
            flags.nearest,
            explainer,
            colours,
            class_images,
        )

    output = flags.output_folder / "CHiQPMExplanations"
    for sample in tqdm(samples, desc="Explanations", leave=False):
        for coverage in settings.coverage:
            folder = output / sample.folder / f"acc_{coverage:g}"
            for name, figure in explanation(sample, coverage).figures().items():
                save(figure, folder / name, flags.format)
    log.info("%d images explained in %s", len(samples), output)
    if flags.report:
        title = f"{settings.model_type} on {settings.dataset}: explanations"
        report = ReportBuilder(title, explainer, colours, class_images)
        report.add_features(data.train_plain, tables.train)
        start = settings.coverage[0]
        coverages = sorted({*SLIDER, *settings.coverage})
        report.set_coverages(coverages, [predictor.level(c) for c in coverages], start)
        for sample in samples:
            sets = [prediction_set(predictor, sample.seen, c) for c in coverages]
            report.add_image(explanation(sample, start), sample.label, sets)
        report.write(output / "report.html")
        log.info("Report: %s", output / "report.html")


def chosen_samples(
    flags: TreeFlags, test: ImageDataset, explainer: Explainer, fresh: Sequence[int]
) -> list[Sample]:
    """The images asked for; by default some test images that did not calibrate, evenly spread."""
    for index in flags.index:
        if not 0 <= index < len(test):
            raise UsageError(f"--index {index}: the test images are 0 to {len(test) - 1}")
    spread = np.linspace(0, len(fresh) - 1, DEFAULT_IMAGES).round().astype(int)
    indices = flags.index if flags.index or flags.image else [fresh[i] for i in spread]
    samples = []
    for index in indices:
        image, label = test[index]
        folder = f"SampleIndex_{index}"
        samples.append(Sample(f"Test image {index}", folder, explainer.see(image), label))
    for path in flags.image:
        image = test.transform(read_image(path))
        stem = Path(path).stem
        samples.append(Sample(stem, f"Image_{stem}", explainer.see(image), None))
    return samples


def prediction_set(
    predictor: HierarchicalPredictor, seen: SeenImage, coverage: float
) -> frozenset[int]:
    """Classes in the prediction set of one image."""
    (in_set,) = predictor.predict(seen.features[None], seen.logits[None], coverage)
    return frozenset(in_set.nonzero().flatten().tolist())


if __name__ == "__main__":
    run_script(main)
