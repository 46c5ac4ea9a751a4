"""Where a sparse model goes wrong, class by class: confusions, the features behind them, and how sure it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix
from torch import Tensor

from architectures.inference import FeatureTable
from configs.files import csv_text, write_atomically, write_text
from configs.fonts import optional_figure, prepare_fonts
from evaluation.class_pages import write_class_pages
from evaluation.plots import labelled_figure

BINS = 10  # of the calibration curve
WORST = 10  # classes in the log


@dataclass(frozen=True)
class Mistakes:
    """The wrongly classified images of a test set."""

    image: Tensor  # index of each, [M]
    true: Tensor  # its class, [M]
    predicted: Tensor  # the class it was taken for, [M]
    feature: Tensor  # the feature that speaks most for the predicted class against the true one, [M]


def mistakes_of(table: FeatureTable, weight: Tensor) -> Mistakes:
    """The mistakes in a feature table of the test images; `weight` is that of the classes, `[C, n]`."""
    image = (table.predictions != table.labels).nonzero().flatten()
    true, predicted = table.labels[image], table.predictions[image]
    evidence = (weight[predicted] - weight[true]) * table.features[image]  # [M, n]
    return Mistakes(image, true, predicted, evidence.argmax(dim=1))


def calibration_curve(logits: Tensor, labels: Tensor) -> np.ndarray:
    """Mean probability of the prediction, share of correct ones, and images, of each bin that has some, `[B, 3]`."""
    probability, predicted = logits.double().softmax(dim=1).max(dim=1)
    correct = (predicted == labels).double()
    bins = (probability * BINS).long().clamp(max=BINS - 1)
    counts = bins.bincount(minlength=BINS)
    sums = [bins.bincount(values, minlength=BINS) for values in (probability, correct)]
    rows = torch.stack([*(total / counts for total in sums), counts], dim=1)
    return rows[counts > 0].numpy()


def calibration_error(curve: np.ndarray) -> float:
    """Expected calibration error: by how much probability and accuracy differ, averaged over the images."""
    probability, accuracy, counts = curve.T
    return float((np.abs(probability - accuracy) * counts).sum() / counts.sum())


def diagnose(folder: Path, table: FeatureTable, weight: Tensor, images) -> str:
    """Write tables, a calibration curve and a page per class into a folder; the worst classes in a few lines."""
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
            line += f", {rival}, mostly by feature {row['feature']}"
        lines.append(line)
    lines.append(f"Expected calibration error {calibration_error(curve):.1%}.")
    return "\n".join([*lines, f"Pages: {folder / 'index.html'}"])


def _class_row(c: int, confused: Tensor, mistakes: Mistakes, classes: Sequence[str]) -> dict:
    others = confused[c].clone()
    others[c] = 0
    rival = int(others.argmax())
    times = int(others[rival])
    return {
        "class": classes[c],
        "images": int(confused[c].sum()),
        "correct": int(confused[c, c]),
        "most often taken for": classes[rival] if times else "",
        "times": times,
        "feature": confusing_feature(mistakes, c, rival) if times else "",
    }


def confusing_feature(mistakes: Mistakes, true: int, predicted: int) -> int:
    """The feature that most often decides for one class against the true one."""
    these = (mistakes.true == true) & (mistakes.predicted == predicted)
    return int(mistakes.feature[these].bincount().argmax())


def calibration_figure(curve: np.ndarray) -> Figure:
    """Accuracy against the probability of the prediction; the area of a point is its number of images."""
    probability, accuracy, counts = curve.T
    figure, axes = labelled_figure(
        "Probability of the predicted class", "Correct predictions (larger dot: more images)", width=5, height=5
    )
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    axes.plot(probability, accuracy, color="#0072B2")
    axes.scatter(probability, accuracy, s=20 + 200 * counts / counts.sum(), color="#0072B2")
    axes.set_title(f"Expected calibration error {calibration_error(curve):.1%}", fontsize="medium")
    return figure
