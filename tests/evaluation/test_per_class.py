"""What goes wrong class by class, on numbers that can be checked by hand."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import call
from PIL import Image

import evaluation.__main__
from architectures.inference import FeatureTable
from evaluation.class_pages import diagnose
from evaluation.per_class import NO_FEATURE, calibration_curve, calibration_error, confusing_feature, mistakes_of

WEIGHT = torch.tensor([[1.0, 1, 0], [1, 0, 1], [0, 1, 1]])


def test_mistakes_are_blamed_on_the_feature_that_spoke_most_for_the_wrong_class():
    labels, predictions = torch.tensor([0, 0, 1, 2, 1]), torch.tensor([0, 1, 1, 0, 0])
    features = torch.tensor([[9.0, 9, 0], [5, 1, 3], [5, 0, 5], [2, 7, 1], [4, 0, 0]])
    table = FeatureTable(features, features, labels, predictions, torch.zeros(5, 3, 2), peak_values=features)
    mistakes = mistakes_of(table, WEIGHT)
    assert mistakes.image.tolist() == [1, 3, 4]
    # Class 1 instead of 0: feature 2 for, feature 1 against; class 0 instead of 2: feature 0 for, 2 against; the last
    # image shows only what classes 0 and 1 share.
    assert mistakes.feature.tolist() == [2, 0, NO_FEATURE]
    assert confusing_feature(mistakes, true=1, predicted=0) == NO_FEATURE


def test_a_mistake_that_no_feature_favours_is_told_as_one(tmp_path):
    features = torch.tensor([[9.0, 9, 0], [4, 0, 0], [0, 5, 5]])  # the second shows what classes 0 and 1 share
    logits, labels = features @ WEIGHT.T, torch.tensor([0, 1, 2])
    peaks = torch.zeros(3, 3, 2)
    table = FeatureTable(features, features, labels, logits.argmax(dim=1), peaks, logits, peak_values=features)
    images = SimpleNamespace(classes=["ant", "bee", "cat"], image=lambda i: Image.new("RGB", (8, 8)))
    said = diagnose(tmp_path, table, WEIGHT, images)
    assert "bee: 0 of 1 correct, once taken for ant, mostly though no feature favours it" in said
    assert "bee,1,0,ant,1,\n" in (tmp_path / "classes.csv").read_text()


def test_calibration_curve_and_its_error():
    probability = torch.tensor([0.95, 0.95, 0.65, 0.65])
    logits = torch.stack([probability, 1 - probability], dim=1).log()
    curve = calibration_curve(logits, torch.tensor([0, 0, 0, 1]))
    np.testing.assert_allclose(curve, [[0.65, 0.5, 2], [0.95, 1, 2]], atol=1e-6)
    assert calibration_error(curve) == pytest.approx((0.15 + 0.05) / 2)


@pytest.mark.parametrize("model_type", ["chiqpm", "qsenn"])
def test_every_class_has_a_page(small_run, model_type, caplog):
    flags = ["--seed", "7", "--model_type", model_type, "--per_class"]
    with caplog.at_level("INFO"):
        call(evaluation.__main__, *small_run, *flags)
    assert "Worst classes:" in caplog.text and "Expected calibration error" in caplog.text
    logs = small_run[small_run.index("--log_dir") + 1]
    (folder,) = Path(logs).rglob(f"{model_type}_6_3_Classes")
    assert len(list(folder.glob("class_*.html"))) == 4
    assert "Bronzed_Cowbird" in (folder / "index.html").read_text()
    with open(folder / "classes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / "confusion.csv", newline="") as file:
        confused = [[int(n) for n in line[1:]] for line in list(csv.reader(file))[1:]]
    assert [int(row["images"]) for row in rows] == [sum(line) for line in confused] == [14] * 4
    assert [int(row["correct"]) for row in rows] == [line[c] for c, line in enumerate(confused)]
    page = (folder / "class_0000.html").read_text()
    assert page.count("<figure>") == min(12, 14 - confused[0][0])
