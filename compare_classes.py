"""Compare classes feature by feature: what they share, and what tells them apart.

By default all pairs of classes that share all but one of their features, on training and on test images.
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
from dataset_classes.registry import load_data
from sparsification.qpm import sharing_pairs
from visualization.class_grid import class_grid
from visualization.colours import FeatureColours
from visualization.comparison import column_groups, comparison_columns, find_class
from visualization.explainer import ClassImages, Explainer
from visualization.figure import save
from visualization.flags import EXPLANATION, FigureFlags
from visualization.report import ReportBuilder, write_index

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareFlags(FigureFlags):
    """What is compared."""

    classes: tuple[str, ...] = flag(
        EXPLANATION,
        (),
        "two or more classes for one figure, by name or index (default: all pairs that share enough)",
        parse=str,
        many=True,
    )
    min_shared: int | None = flag(
        EXPLANATION,
        None,
        "features that compared pairs share at least (default: n_per_class - 1)",
        parse=int,
    )


def main() -> None:
    """One figure per comparison and split, an index of them, and on request a report."""
    settings, flags = parse_settings(None, __doc__, CompareFlags)
    settings, run = finished_run(settings)
    hardware = Hardware.choose(settings.device, settings.workers)
    data = load_data(
        settings.dataset, settings.data_root, img_size=settings.img_size, crop_gt=settings.crop
    )
    model = load_finished_model(settings, run, data.train.classes, hardware)
    tables = feature_tables(settings, run, model, data, hardware)
    explainer = Explainer(model, hardware, tables.train, data.train)
    colours = FeatureColours(explainer.weight, flags.palette)
    comparisons = chosen_classes(flags, explainer, settings.n_per_class)

    for split, dataset, table in (
        ("Train", data.train_plain, tables.train),
        ("Test", data.test, tables.test),
    ):
        folder = flags.output_folder / f"{split}vizQPMClassComparisons"
        images = ClassImages(explainer, dataset, table)
        draw_all(explainer, colours, images, comparisons, folder, flags.format)
        if flags.report:
            title = f"{settings.model_type} on {settings.dataset}: {split.lower()} images"
            report = ReportBuilder(title, explainer, colours, images)
            report.add_features(data.train_plain, tables.train)
            for classes in comparisons:
                report.add_comparison(classes, comparison_columns(explainer.weight, classes))
            report.write(folder / "report.html")
            log.info("Report: %s", folder / "report.html")


def chosen_classes(
    flags: CompareFlags, explainer: Explainer, n_per_class: int
) -> list[tuple[int, ...]]:
    """The classes of every figure."""
    if flags.classes:
        named = dict.fromkeys(find_class(text, explainer.class_names) for text in flags.classes)
        if len(named) < 2:
            raise UsageError("--classes needs two or more different classes")
        return [tuple(named)]
    assigned = (explainer.weight != 0).astype(int)
    together = np.triu(assigned @ assigned.T, k=1)
    wanted = n_per_class - 1 if flags.min_shared is None else flags.min_shared
    if together.max() < wanted:
        if flags.min_shared is not None:
            raise UsageError(
                f"--min_shared {wanted}: no two classes share so many features; at most {together.max()} are shared"
            )
        wanted = int(together.max())
        log.info("No two classes share %d features; pairs that share %d.", n_per_class - 1, wanted)
    return [(int(a), int(b)) for a, b in sharing_pairs(assigned, wanted)]


def draw_all(
    explainer: Explainer,
    colours: FeatureColours,
    images: ClassImages,
    comparisons: Sequence[tuple[int, ...]],
    folder: Path,
    formats: Sequence[str],
) -> None:
    """Write a figure for every comparison whose classes have images, and the index of them."""
    names, figures = explainer.class_names, []
    for classes in tqdm(comparisons, desc="Figures", leave=False):
        without = [names[c] for c in classes if images[c] is None]
        if without:
            log.warning("%s: no image of %s; figure left out.", folder.name, ", ".join(without))
            continue
        columns = comparison_columns(explainer.weight, classes)
        rows = [explainer.row(images[c], columns, names[c], c) for c in classes]
        groups = column_groups(explainer.weight, classes, columns, names)
        left_out = int((explainer.weight[list(classes)] != 0).any(axis=0).sum()) - len(columns)
        figure = class_grid(rows, columns, colours.distinct(columns), groups, left_out)
        paths = save(figure, folder / "_".join(map(str, classes)), formats)
        figures.append((" – ".join(names[c] for c in classes), paths[0]))
    index = write_index(folder, f"{folder.name}: {len(figures)} comparisons", figures)
    log.info("%d figures, all on one page: %s", len(figures), index)


if __name__ == "__main__":
    run_script(main)
