"""Deletion, insertion and randomisation on a network whose answer is known: it looks at one corner."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command_line import call
from torch import nn

import evaluation.__main__
from architectures.backbones.base import Backbone
from architectures.classifier import InterpretableClassifier
from architectures.sparse_head import SparseHead
from evaluation.faithfulness import (
    STEPS,
    area,
    curves,
    faithfulness,
    map_correlation,
    partly_blurred,
    shuffled,
    steps_of,
)

CORNER = torch.zeros(1, 1, 4, 4)
CORNER[..., 0, 0] = 1


class Looks(Backbone):
    """How bright and how dark a cell is; a third feature is there everywhere."""

    n_features = 3
    pooling = "max"

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([5.0, 1.0, 0.1]))

    def maps(self, images):
        bright = nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), 8)
        maps = torch.cat([bright, 1 - bright, torch.ones_like(bright)], dim=1)
        return maps * self.scale[:, None, None]


def bright_corner():
    """An image with one bright cell, and a model whose first class is made of what is bright."""
    weight = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
    head = SparseHead(torch.arange(3), weight, torch.zeros(3), torch.ones(3), relu=True)
    image = nn.functional.interpolate(CORNER, scale_factor=8).expand(1, 3, 32, 32)[0]
    return InterpretableClassifier(Looks(), head).eval(), image


def test_cells_are_taken_in_order_a_step_at_a_time():
    order = torch.arange(15, -1, -1)
    steps = steps_of(order, (4, 4))
    assert steps.flatten(1).sum(dim=1).tolist() == [2, 4, 6, 8, 10, 12, 14] and STEPS == 8
    assert steps[0].flatten().nonzero().flatten().tolist() == [14, 15]


def test_only_the_marked_cells_are_blurred():
    _, image = bright_corner()
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, 1] = True
    (changed,) = partly_blurred(image, mask)
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[:8, 8:16] = False
    assert torch.equal(changed[:, outside], image[:, outside])
    assert changed[:, :8, 8:16].sum() > 1


def test_area_of_a_straight_line():
    assert area(1.0, torch.linspace(1, 0, STEPS + 1)[1:-1], 0.0) == pytest.approx(0.5)


def test_a_map_that_marks_what_counts_falls_and_rises_at_once():
    model, image = bright_corner()
    found = curves(model, image, seed=1)
    for name in ("Class", "Feature"):
        deletion, random, insertion = (found[f"{name}, {kind}"] for kind in ("deletion", "random cells", "insertion"))
        assert deletion < random < insertion
    # The corner is gone after the first of 8 steps: what is left is half a step and the blurred image's rest.
    rest = model(partly_blurred(image, torch.ones(1, 4, 4).bool())).feature_maps[0, 0].max() / 5
    assert found["Feature, deletion"] == pytest.approx(1 / 16 + 15 / 16 * rest.item(), abs=0.05)


def test_a_feature_that_speaks_by_its_absence_has_no_curve():
    _, image = bright_corner()
    sparse = torch.tensor([[-1.0, 0, 0], [-1.0, 0, 0]])
    mean = torch.tensor([5.0, 0, 0])
    head = SparseHead(torch.arange(3), sparse, mean, torch.ones(3))
    found = curves(InterpretableClassifier(Looks(), head).eval(), torch.zeros_like(image), seed=1)
    assert {name.partition(",")[0] for name in found} == {"Class"}


def test_maps_of_shuffled_weights_are_compared_by_rank():
    model, image = bright_corner()
    assert map_correlation(model, model, image) == pytest.approx(1)
    other = shuffled(model)
    assert sorted(other.backbone.scale.tolist()) == sorted(model.backbone.scale.tolist())
    assert model.backbone.scale.tolist() == pytest.approx([5.0, 1.0, 0.1])
    with torch.no_grad():
        other.backbone.scale.zero_()
    assert map_correlation(model, other, image) == 0  # a constant map agrees with nothing


def test_results_are_means_over_images_and_need_no_dense_model(tmp_path):
    model, image = bright_corner()
    run = SimpleNamespace(
        data=SimpleNamespace(test=[(image, 0), (image, 0)]), folder=SimpleNamespace(file=lambda name: tmp_path / name)
    )
    results = faithfulness(run, model)
    assert list(results)[-1] == "Rank correlation with maps of shuffled weights"
    assert len(results) == 7 and all(isinstance(value, float) for value in results.values())


def test_a_later_evaluation_keeps_what_was_asked_of_the_same_model(small_run, monkeypatch):
    results = Path(small_run[small_run.index("--log_dir") + 1]) / "resnet18/ImageFolder/7"

    def evaluated(*flags):
        call(evaluation.__main__, *small_run, "--seed", "7", "--model_type", "qpm", *flags)
        return json.loads((results / "Evaluated_Results_qpm_6_3_FinetunedModel.json").read_text())

    monkeypatch.setattr(evaluation.__main__, "faithfulness", lambda *_: {"Class, deletion": 0.25})
    assert evaluated("--faithfulness")["Faithfulness"] == {"Class, deletion": 0.25}
    assert evaluated("--coverage", "0.8")["Faithfulness"] == {"Class, deletion": 0.25}
    model = results / "qpm_6_3_FinetunedModel.pth"
    state = torch.load(model)
    state["linear.mean"] = state["linear.mean"] * 0.9
    torch.save(state, model)
    assert "Faithfulness" not in evaluated()
