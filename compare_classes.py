"""Compare classes feature by feature: what they share, and what tells them apart.

    python compare_classes.py --folder RUN_FOLDER

By default it draws all pairs of classes that share all but one of their features, with training and with test images,
and one tree of all classes, by the features that they share. If the dataset knows the true similarity of classes, pairs
that are truly alike come first.
"""

import configs  # noqa: F401, I001  first, so that a missing numpy is told in one line
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.arguments import flag
from configs.errors import UsageError
from configs.finished_run import finished_run
from configs.script import progress, run_script
from sparsification.qpm import sharing_pairs
from visualization.class_grid import class_grid
from visualization.class_tree import MOST_CLASSES, class_tree
from visualization.comparison import column_groups, comparison_columns, find_class
from visualization.explained_run import ExplainedRun, open_run
from visualization.explainer import ClassImages
from visualization.figure import save
from visualization.flags import EXPLANATION, FigureFlags
from visualization.report import write_index

log = logging.getLogger(__name__)

ALIKE = 0.8  # similarity above which a pair comes first; the published figures show only such pairs


@dataclass(frozen=True)
class CompareFlags(FigureFlags):
    """What to compare."""

    classes: tuple[str, ...] = flag(
        EXPLANATION, (),
        "two or more classes for one figure, by index or name, without a leading - (default: all pairs that share "
        "enough)",
        parse=str, many=True,
    )  # fmt: skip
    min_shared: int | None = flag(
        EXPLANATION, None, "smallest number of shared features of compared pairs (default: n_per_class - 1)", parse=int
    )


def main() -> None:
    """One figure per comparison and split, an index of them, the tree of all classes, and on request a report."""
    settings, run, flags = finished_run(None, __doc__, CompareFlags)
    explained = open_run(settings, run, flags.palette)
    explainer, data, tables = explained.explainer, explained.data, explained.tables
    comparisons = chosen_comparisons(
        flags, explainer.weight, explainer.class_names, settings.n_per_class, data.test.class_similarity()
    )
    output = flags.folder(settings, run)
    for split, dataset, table in (("Train", data.train_unaugmented, tables.train), ("Test", data.test, tables.test)):
        folder = output / f"{split}vizQPMClassComparisons"
        images = ClassImages(explainer, dataset, table)
        figures = draw(explained, images, comparisons, folder, flags.format)
        index = write_index(folder, f"Class comparisons, {split.lower()} images", figures)
        log.info("%s images: figures made: %d, all on one page: %s", split, len(figures), index)
        if flags.report:
            path = folder / "report.html"
            write_report(explained, images, comparisons, f"{split.lower()} images", path)
            log.info("%s images: report %s", split, path)
    if not flags.classes and len(explainer.class_names) <= MOST_CLASSES:
        tree = class_tree(explainer.weight, explainer.class_names)
        (path, *_) = save(tree, output / "ClassTree", flags.format)
        log.info("All classes, by the features that they share: %s", path)


def chosen_comparisons(
    flags: CompareFlags,
    weight: np.ndarray,
    class_names: Sequence[str],
    n_per_class: int,
    class_similarity: np.ndarray | None = None,
) -> list[tuple[int, ...]]:
    """The classes of every figure, pairs of similar ones first; UsageError if there are none like that."""
    if flags.classes:
        named = dict.fromkeys(find_class(text, class_names) for text in flags.classes)
        if len(named) < 2:
            raise UsageError("--classes needs two or more different classes")
        if flags.min_shared is not None:
            raise UsageError("--min_shared chooses pairs and --classes names classes: leave one of them out")
        return [tuple(named)]
    assigned = (weight != 0).astype(int)
    most = int(np.triu(assigned @ assigned.T, k=1).max())
    if flags.min_shared is not None and flags.min_shared > most:
        raise UsageError(f"--min_shared {flags.min_shared}: no two classes share more than {most} features")
    wanted = min(n_per_class - 1, most) if flags.min_shared is None else flags.min_shared
    pairs: list[tuple[int, ...]] = [(int(a), int(b)) for a, b in sharing_pairs(assigned, wanted)]
    if class_similarity is None:
        return pairs
    return sorted(pairs, key=lambda pair: class_similarity[pair] <= ALIKE)


def draw(
    explained: ExplainedRun,
    images: ClassImages,
    comparisons: Sequence[tuple[int, ...]],
    folder: Path,
    formats: Sequence[str],
) -> list[tuple[str, Path]]:
    """Write a figure for every comparison whose classes have images; returns captions and files."""
    explainer, names, figures = explained.explainer, explained.explainer.class_names, []
    weight, usual = explainer.weight, explained.usual_parts
    for classes in progress(comparisons, desc="Figures"):
        without = [names[c] for c in classes if images[c] is None]
        if without:
            log.warning("%s: no image of %s; figure left out.", folder.name, ", ".join(without))
            continue
        columns = comparison_columns(weight, classes)
        rows = [
            explainer.row(images[c], columns, names[c], c, expected=explained.expected(classes, c)) for c in classes
        ]
        figure = class_grid(
            rows,
            columns,
            explained.colours.distinct(columns),
            column_groups(weight, classes, columns, names),
            left_out=int((weight[list(classes)] != 0).any(axis=0).sum()) - len(columns),
            notes={f: str(usual[f]) for f in columns if f in usual},
            right_part=explained.right_part(classes),
        )
        paths = save(figure, folder / "_".join(map(str, classes)), formats)
        title = " – ".join(names[c] for c in classes)
        figures.append((f"{title}. {explained.trust(classes)}".rstrip(". "), paths[0]))
    return figures


def write_report(
    explained: ExplainedRun, images: ClassImages, comparisons: Sequence[tuple[int, ...]], kind: str, path: Path
) -> None:
    """Write the page with all comparisons, classes and features."""
    report = explained.report(f"class comparisons, {kind}", images)
    for classes in comparisons:
        report.add_comparison(
            classes,
            comparison_columns(explained.explainer.weight, classes),
            expected={c: explained.expected(classes, c) for c in classes},
            right_part=explained.right_part(classes),
            trust=explained.trust(classes),
        )
    report.write(path)


if __name__ == "__main__":
    run_script(main)
