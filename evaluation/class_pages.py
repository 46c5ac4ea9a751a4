"""Tables of all classes, and a page for each with its features, its nearest classes and its mistakes."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import torch
from PIL import Image
from sklearn.metrics import confusion_matrix
from torch import Tensor

from architectures.activations import strongest_first
from architectures.inference import FeatureTable
from configs.files import csv_text, write_atomically, write_text
from configs.fonts import optional_figure, prepare_fonts
from evaluation.per_class import (
    NO_FEATURE,
    Mistakes,
    calibration_curve,
    calibration_error,
    calibration_figure,
    confusing_feature,
    mistakes_of,
)

WORST = 10  # classes in the log
NEIGHBOURS = 5
SHOWN_MISTAKES = 12
THUMBNAIL = 112  # pixels
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }}
th, td {{ padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #8884 }}
figure {{ display: inline-block; margin: .5rem; width: {width}px; font-size: .8rem; vertical-align: top }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def diagnose(folder: Path, table: FeatureTable, weight: Tensor, images) -> str:
    """Write tables, a calibration curve and a page per class into a folder; returns a few lines on the worst classes.

    Args:
        table: of the test images.
        weight: class-feature weights, `[C, n]`.
        images: the test images, an `ImageDataset`.
    """
    classes = images.classes
    prepare_fonts(classes)
    weight = weight.detach().cpu()
    confused = torch.from_numpy(confusion_matrix(table.labels, table.predictions, labels=range(len(classes))))  # [C, C]
    mistakes = mistakes_of(table, weight)
    curve = calibration_curve(table.logits, table.labels)
    rows = [_class_row(c, confused, mistakes, classes) for c in range(len(classes))]
    write_text(folder / "classes.csv", csv_text([rows[0], *(row.values() for row in rows)]))
    counts = [[name, *row] for name, row in zip(classes, confused.tolist(), strict=True)]
    write_text(folder / "confusion.csv", csv_text([["true class", *classes], *counts]))
    with optional_figure("The calibration curve"):
        write_atomically(folder / "calibration.png", calibration_figure(curve).savefig)
    write_class_pages(folder, table, weight, confused, mistakes, images)
    tested = [row for row in rows if row["images"]]
    worst = sorted(tested, key=lambda row: (row["correct"] / row["images"], row["class"]))[:WORST]
    lines = [f"{len(mistakes.image)} of {len(table)} test images are misclassified. Worst classes:"]
    for row in worst:
        line = f"  {row['class']}: {row['correct']} of {row['images']} correct"
        if row["most often taken for"]:
            times = "once" if row["times"] == 1 else f"{row['times']} times"
            rival = f"{times} taken for {row['most often taken for']}"
            line += f", {rival}, mostly {_by(row['feature'])}"
        lines.append(line)
    lines.append(f"Expected calibration error {calibration_error(curve):.1%}.")
    return "\n".join([*lines, f"Pages: {folder / 'index.html'}"])


def _by(feature: int | str) -> str:
    """How a mistake came about; `feature` as in `Mistakes` or the table of classes."""
    return "though no feature favours it" if feature in (NO_FEATURE, "") else f"by feature {feature}"


def _class_row(c: int, confused: Tensor, mistakes: Mistakes, classes: Sequence[str]) -> dict:
    others = confused[c].clone()
    others[c] = 0
    rival = int(others.argmax())
    times = int(others[rival])
    feature = confusing_feature(mistakes, c, rival) if times else NO_FEATURE
    return {
        "class": classes[c],
        "images": int(confused[c].sum()),
        "correct": int(confused[c, c]),
        "most often taken for": classes[rival] if times else "",
        "times": times,
        "feature": "" if feature == NO_FEATURE else feature,
    }


def write_class_pages(
    folder: Path, table: FeatureTable, weight: Tensor, confused: Tensor, mistakes: Mistakes, images
) -> None:
    """Write `index.html` and a page per class; `confused`: images by true (row) and predicted class, `[C, C]`."""
    names = images.classes
    order = sorted(range(len(names)), key=lambda c: (_accuracy(confused, c), names[c]))
    rows = ([_link(c, names), _share(confused, c)] for c in order)
    body = '<p><img src="calibration.png" alt="Calibration curve"></p>' + _table(["class", "correct"], rows)
    _write(folder / "index.html", "Classes, worst first", body)
    for c in range(len(names)):
        body = "".join(
            [
                f'<p><a href="index.html">All classes</a>. {_share(confused, c)} test images are correct.</p>',
                "<h2>Features</h2>", _features(c, table, weight),
                "<h2>Nearest classes</h2>", _neighbours(c, weight, confused, names),
                "<h2>Mistakes</h2>", _mistakes(c, mistakes, images),
            ]
        )  # fmt: skip
        _write(folder / _file(c), names[c], body)


def _features(c: int, table: FeatureTable, weight: Tensor) -> str:
    """The class's features, how active they are in its images, and in all others."""
    own = table.labels == c
    rows = []
    for f in weight[c].nonzero().flatten().tolist():
        active = [table.features[these, f] for these in (own, ~own)]
        means = [f"{values.mean():.2f}" if len(values) else "-" for values in active]
        rows.append([str(f), f"{weight[c, f]:g}", *means])
    return _table(["feature", "weight", "activation in its images", "in others"], rows)


def _neighbours(c: int, weight: Tensor, confused: Tensor, names: list[str]) -> str:
    """The classes that share the most features, the features of only one of them, and how often they are confused."""
    has = weight != 0
    shared = (has & has[c]).sum(dim=1)
    shared[c] = -1
    rows = []
    for other in strongest_first(shared)[:NEIGHBOURS].tolist():
        if other == c:
            continue
        only_here, only_there = (
            ", ".join(map(str, (one & ~two).nonzero().flatten().tolist()))
            for one, two in ((has[c], has[other]), (has[other], has[c]))
        )
        taken = [str(int(confused[c, other])), str(int(confused[other, c]))]
        rows.append([_link(other, names), str(int(shared[other])), only_here, only_there, *taken])
    head = ["class", "shared features", "only here", "only there", "this class taken for it", "it taken for this class"]
    return _table(head, rows)


def _mistakes(c: int, mistakes: Mistakes, images) -> str:
    """The class's misclassified images, what each was taken for, and by which feature."""
    rows = (mistakes.true == c).nonzero().flatten().tolist()
    shown = [
        f'<figure><img src="{_thumbnail(images.image(int(mistakes.image[m])))}" alt="">'
        f"<figcaption>{_link(int(mistakes.predicted[m]), images.classes)}, {_by(int(mistakes.feature[m]))}"
        "</figcaption></figure>"
        for m in rows[:SHOWN_MISTAKES]
    ]
    more = f"<p>{SHOWN_MISTAKES} of {len(rows)} are shown.</p>" if len(rows) > SHOWN_MISTAKES else ""
    return "".join(shown) + more if rows else "<p>None.</p>"


def _thumbnail(image) -> str:
    image = image.copy()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return data_uri(image, "JPEG", quality=80)


def data_uri(image: Image.Image, kind: str, **options) -> str:
    """An image as a `data:` URI in some format (`JPEG`, `PNG`); `options` are Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _accuracy(confused: Tensor, c: int) -> float:
    return float(confused[c, c] / confused[c].sum().clamp(min=1))


def _share(confused: Tensor, c: int) -> str:
    return f"{int(confused[c, c])} of {int(confused[c].sum())}"


def _file(c: int) -> str:
    return f"class_{c:04d}.html"


def _link(c: int, names: list[str]) -> str:
    return f'<a href="{_file(c)}">{escape(names[c])}</a>'


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Cells are HTML."""
    lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _write(path: Path, title: str, body: str) -> None:
    write_text(path, PAGE.format(title=escape(title), body=body, width=THUMBNAIL))
