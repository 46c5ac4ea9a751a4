"""What figures say of the truth: ticks, squares and how far a feature can be trusted."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import to_tensor

from architectures.backbones.base import Backbone
from architectures.classifier import InterpretableClassifier
from architectures.inference import FeatureTable
from architectures.sparse_head import SparseHead
from configs.hardware import Hardware
from dataset_classes.keypoints import Keypoints
from evaluation.part_purity import usual_parts
from visualization.class_grid import GridRow, class_grid
from visualization.explained_run import ExplainedRun
from visualization.explainer import Explainer

WEIGHT = torch.tensor([[1.0, 1, 0], [1.0, 0, 1]])


class Halves(Backbone):
    """How bright cells are: everywhere, in the left half, and there but shown on the right."""

    n_features = 3
    pooling = "max"
    receptive_field = 8
    first_centre = 4.0

    def maps(self, images):
        bright = nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), 8)
        left = bright * (torch.arange(4) < 2)
        return torch.cat([bright, left, left.flip(3)], dim=1)


class TwoParts:
    """One image whose two parts, left and right, are bright squares; the other look of each is dark."""

    mean, std = (0.0,) * 3, (1.0,) * 3
    class_parts = np.array([[0, 0], [1, 0]])
    part_locations = np.array([[[0.125, 0.5], [0.875, 0.5]]])
    part_visibility = np.array([[True, True]])
    transform = staticmethod(to_tensor)

    def drawn(self, left, right):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[12:20, :8], pixels[12:20, 24:] = left, right
        return Image.fromarray(pixels)

    def __getitem__(self, index):
        return to_tensor(self.drawn(200, 100)), 0

    def other_looks(self, index):
        return [self.drawn(0, 100), self.drawn(200, 0)]

    def keypoints(self):
        return Keypoints(("head", "tail"), self.part_locations, self.part_visibility)


def explainer():
    head = SparseHead(torch.arange(3), WEIGHT, torch.zeros(3), torch.ones(3), relu=True)
    hardware = Hardware(torch.device("cpu"), workers=0)
    data = SimpleNamespace(classes=["a", "b"], transform=TwoParts)
    table = SimpleNamespace(features=torch.rand(20, 3, generator=torch.manual_seed(0)))
    return Explainer(InterpretableClassifier(Halves(), head), hardware, table, data)


def test_a_feature_is_right_where_its_peak_lies_on_the_part_that_causes_it():
    seen = explainer().look(TwoParts(), 0)
    assert seen.parts.cause.tolist() == [0, 0, 0]
    assert seen.marks() == {0: True, 1: True, 2: False}  # the last one is shown where it is not
    assert seen.marks({0: 1}) == {0: False, 1: True, 2: False}
    hidden = TwoParts()
    hidden.part_visibility = np.array([[True, False]])
    assert explainer().look(hidden, 0).marks({0: 1}) == {1: True, 2: True}  # the only visible part
    assert explainer().see(TwoParts()[0][0]).marks() == {}


def test_the_square_is_what_the_cell_under_the_peak_sees():
    seen = explainer().look(TwoParts(), 0)
    left, top, right, bottom = explainer().squares(seen, [2])[2]
    row = (top * 4, bottom * 4)
    assert (left * 4, right * 4) == (3, 4) and row in ((1, 2), (2, 3))


def run_of(usual):
    return ExplainedRun(SimpleNamespace(data=SimpleNamespace(test=TwoParts())), None, explainer(), None, usual)


def test_of_a_pair_that_differs_in_one_part_the_features_of_one_class_have_to_lie_on_it():
    run = run_of({})
    assert run.expected((0, 1), 0) == {1: 0} and run.expected((0, 1), 1) == {2: 0}
    assert "head" in run.right_part((0, 1)) and run.trust((0, 1)) == ""


def test_usual_parts_are_counted_where_a_feature_is_active_and_a_part_is_visible():
    names = ("left wing", "right wing", "tail")
    places = np.tile([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]], (4, 1, 1))
    visible = np.array([[1, 1, 1]] * 3 + [[0, 0, 0]], dtype=bool)
    peaks = torch.tensor([[0.1, 0.1], [0.1, 0.9], [0.9, 0.5], [0.9, 0.5]])[:, None].repeat(1, 2, 1)
    features = torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 0]])
    table = FeatureTable(features, features, *[torch.zeros(4)] * 2, peaks, peak_values=features)
    usual = usual_parts(table, Keypoints(names, places, visible))
    assert list(usual) == [0] and usual[0].name == "wing"
    assert usual[0].share == pytest.approx(2 / 3)
    assert run_of({1: usual[0]}).trust((0, 1)) == "Peaks on test images: that of feature 1 on the wing in 67%."


def test_a_grid_says_what_its_marks_mean():
    heat = np.zeros((8, 8))
    row = GridRow("a", np.zeros((8, 8, 3)), {3: heat}, marks={3: False}, squares={3: (0, 0, 1, 1)})
    figure = class_grid([row], [3], {3: (1.0, 0, 0)}, notes={3: "tail 93%"}, right_part="the tail")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"tail 93%", "✗", "✓ ✗ = is the peak on the tail?"} <= set(texts)
