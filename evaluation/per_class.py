"""Where a sparse model goes wrong, class by class: confusions, the features behind them, and its confidence."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from architectures.inference import FeatureTable
from evaluation.plots import labelled_figure

BINS = 10  # of the calibration curve
NO_FEATURE = -1


@dataclass(frozen=True)
class Mistakes:
    """The wrongly classified images of a test set."""

    image: Tensor  # index of each, [M]
    true: Tensor  # its class, [M]
    predicted: Tensor  # the class it was taken for, [M]
    # The feature that most favours the predicted class over the true one, [M]; `NO_FEATURE` if none does: where those
    # that tell the two apart are silent, a bias or the order of the classes decides
    feature: Tensor


def mistakes_of(table: FeatureTable, weight: Tensor) -> Mistakes:
    """The mistakes in a feature table of the test images; `weight`: class-feature weights, `[C, n]`."""
    image = (table.predictions != table.labels).nonzero().flatten()
    true, predicted = table.labels[image], table.predictions[image]
    evidence = (weight[predicted] - weight[true]) * table.features[image]  # [M, n]
    most, feature = evidence.max(dim=1)
    return Mistakes(image, true, predicted, feature.where(most > 0, NO_FEATURE))


def calibration_curve(logits: Tensor, labels: Tensor) -> np.ndarray:
    """Mean probability of the prediction, accuracy and number of images for each bin that has any, `[B, 3]`."""
    probability, predicted = logits.double().softmax(dim=1).max(dim=1)
    correct = (predicted == labels).double()
    bins = (probability * BINS).long().clamp(max=BINS - 1)
    counts = bins.bincount(minlength=BINS)
    sums = [bins.bincount(values, minlength=BINS) for values in (probability, correct)]
    rows = torch.stack([*(total / counts for total in sums), counts], dim=1)
    return rows[counts > 0].numpy()


def calibration_error(curve: np.ndarray) -> float:
    """Expected calibration error: difference between probability and accuracy, averaged over the images."""
    probability, accuracy, counts = curve.T
    return float((np.abs(probability - accuracy) * counts).sum() / counts.sum())


def confusing_feature(mistakes: Mistakes, true: int, predicted: int) -> int:
    """The feature that most often favours a wrong class over the true one; `NO_FEATURE` if mostly none does."""
    these = (mistakes.true == true) & (mistakes.predicted == predicted)
    return int(mistakes.feature[these].mode().values)


def calibration_figure(curve: np.ndarray) -> Figure:
    """Accuracy against the probability of the prediction; the area of a point grows with its number of images."""
    probability, accuracy, counts = curve.T
    figure, axes = labelled_figure(
        "Probability of the predicted class", "Correct predictions (larger dot: more images)", width=5, height=5
    )
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    axes.plot(probability, accuracy, color="#0072B2")
    axes.scatter(probability, accuracy, s=20 + 200 * counts / counts.sum(), color="#0072B2")
    axes.set_title(f"Expected calibration error {calibration_error(curve):.1%}", fontsize="medium")
    return figure
