"""The evaluation stage on a small untrained model, and explanation truth on peaks placed by hand."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_tensor

from architectures.classifier import build_dense_model
from architectures.inference import FeatureTable, feature_tables
from architectures.sparse_head import SparseLayer, build_head
from configs.files import read_json
from configs.hardware import Hardware
from configs.open_run import OpenRun
from configs.run_files import DENSE_MODEL_FILE, sparse_model_file, sparse_results_file
from configs.run_folder import RunFolder
from configs.settings import Settings
from conformal import METHODS
from dataset_classes.synthetic_birds import DrawnImages
from evaluation import metrics
from evaluation.evaluate import class_attribute_table, evaluate_dense, evaluate_sparse, observe, warn_of_silent_features
from evaluation.explanation_truth import (
    attribute_constancy,
    causing_part,
    differing_part_rate,
    explanation_truth,
    part_under_peak,
    separating_cases,
)
from evaluation.plots import COLOURS
from evaluation.prediction_sets import compare_methods, coverage_per_class, methods
from evaluation.results import results_table

CPU = Hardware(torch.device("cpu"), workers=0)
C, N_PER_CLASS, P = 4, 24, 2


class Birds(DrawnImages):
    """Noise images of four classes: two looks of two parts."""

    class_parts = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])

    def __init__(self):
        labels = np.repeat(np.arange(C), N_PER_CLASS)
        n = len(labels)
        attributes = np.concatenate([np.eye(2)[self.class_parts[:, p]] for p in range(P)], axis=1)
        super().__init__(map(str, range(n)), labels, "abcd", root=".", attributes=attributes)
        self._images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        self.transform = to_tensor
        self.part_locations = np.tile([[0.2, 0.5], [0.8, 0.5]], (n, 1, 1))
        self.part_visibility = np.ones((n, P), dtype=bool)

    def tensor(self):
        return torch.stack([image for image, _ in self])

    def image_attributes(self):
        present = self.class_attributes()[self.labels].astype(int)
        image, attribute = np.indices(present.shape)
        rows = image + 1, attribute + 1, present, np.full_like(present, 4)
        return np.stack(rows, axis=2).reshape(-1, 4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose model was never trained, and the model."""
    torch.manual_seed(0)
    settings = Settings(
        dataset="SyntheticBirds", arch="resnet18", n_features=6, n_per_class=3, seed=0,
        img_size=32, weights="none", do_dense=True, coverage=(0.8,),
    )  # fmt: skip
    weight = torch.zeros(C, 6)
    for c, features in enumerate([(0, 1, 2), (0, 1, 3), (2, 4, 5), (1, 3, 5)]):
        weight[c, list(features)] = 1
    model = build_dense_model("resnet18", C)
    layer = SparseLayer(torch.arange(6), weight, torch.zeros(6), torch.ones(6))
    model.set_sparse_head(build_head(layer, settings.head))
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    torch.save(model.state_dict(), folder.file(sparse_model_file(settings)))
    data = SimpleNamespace(train_unaugmented=Birds(), test=Birds(), others=())
    return OpenRun(settings, folder, CPU, data), model


def test_results_of_a_sparse_model(finished):
    run, model = finished
    tables = feature_tables(run, model)
    assert tables.train.logits is None  # a thousand numbers an image at the size of ImageNet
    results = evaluate_sparse(run, model, tables)
    assert results == json.loads(run.folder.file(sparse_results_file(run.settings)).read_text())
    with torch.inference_mode():
        output = model(run.data.test.tensor())
    expected = metrics.sid_at_k(output.feature_maps, output.logits, model.class_weight)
    assert results["SID@5"] is None and math.isnan(expected)  # only 3 features per class
    assert results["Accuracy"] == pytest.approx(tables.test.accuracy)
    assert (results["Number of features"], results["Features per class"]) == (6, 3)
    assert results["Alignment"] == pytest.approx(results["Alignment with class attributes"])
    assert (results["NFfeatures"], results["PerClass"]) == (6, 3)  # as the published files say it
    ours, published = results["Prediction sets"]["CHiQPM (paper)"]["0.9"], results["CHiQPM"]["0.9"]
    assert (ours["Coverage"], ours["Average set size"], ours["Set coherence"]) == (
        published["Coverage_rate"], published["Average_size"], published["SetCoherence"],
    )  # fmt: skip
    assert (results["Calibration images"], results["Prediction set images"]) == (40, 56)
    assert list(results["Prediction sets"]) == [method.name for method in METHODS]
    assert list(results["Prediction sets"]["THR"]) == ["0.8", "0.88", "0.9", "0.925", "0.95"]
    plots = run.folder.file("chiqpm_6_3_PredictionSets")
    assert sorted(p.name for p in plots.iterdir()) == ["class_coverage.png", "coverage.png", "set_size.png"]


def test_every_method_has_its_colour():
    colours = [COLOURS[method.name] for method in METHODS]
    assert len(set(colours)) == len(METHODS)


def test_results_of_the_dense_model_have_the_same_names(finished):
    run, _ = finished
    model = build_dense_model("resnet18", C)
    run.folder.artefact(DENSE_MODEL_FILE, {}).write(lambda path: torch.save(model.state_dict(), path))
    train_features = torch.rand(len(run.data.train_unaugmented), 512)
    results = evaluate_dense(run, model, train_features)
    sparse = read_json(run.folder.file(sparse_results_file(run.settings)))
    own = [key for key in results if key not in ("NFfeatures", "PerClass")]
    assert own == list(sparse)[: len(own)]
    with torch.inference_mode():
        logits = model.linear(train_features)
    expected = metrics.dependence(train_features, logits, model.class_weight)
    assert results["Dependence"] == pytest.approx(expected)
    assert results["Number of features"] == results["Features per class"] == 512
    assert 1 / 5 < results["SID@5"] <= 1
    untrained = replace(run, settings=replace(run.settings, do_dense=False))
    assert evaluate_dense(untrained, model, train_features) == {"Accuracy": None}


def test_current_results_are_not_measured_again(finished):
    run, model = finished
    tables = feature_tables(run, model)
    evaluate_sparse(run, model, tables)
    reused = evaluate_sparse(run, None, tables)  # would need the model
    assert reused == read_json(run.folder.file(sparse_results_file(run.settings)))
    with pytest.raises(AttributeError):
        evaluate_sparse(run, None, tables, again=True)


def test_results_are_measured_again_when_the_attributes_changed(finished, monkeypatch):
    run, model = finished
    tables = feature_tables(run, model)
    before = evaluate_sparse(run, model, tables)
    monkeypatch.setattr(Birds, "class_attributes", lambda self: np.eye(C))
    after = evaluate_sparse(run, model, tables)
    name = "Alignment with class attributes"
    assert after[name] != before[name]


def test_sid_is_streamed_over_batches(finished, monkeypatch):
    run, model = finished
    monkeypatch.setattr("architectures.inference.INFERENCE_BATCH", 10)
    model.eval()
    with torch.inference_mode():
        output = model(run.data.test.tensor())
    dense = torch.rand(C, 6, generator=torch.manual_seed(1))
    model.linear.layer.weight.data, weight = dense, model.class_weight.clone()
    with torch.inference_mode():
        expected = metrics.sid_at_k(output.feature_maps, output.features @ dense.T, dense)
    observed = observe(run, model)
    model.linear.layer.weight.data = weight
    assert observed.sid.nanmean().item() == pytest.approx(expected, abs=1e-5)
    assert len(observed.features) == len(run.data.test)


def test_table_for_people():
    sets = {"THR": {"0.9": {"Coverage": 0.912, "Average set size": 1.5, "Set coherence": None}}}
    sparse = {"Accuracy": 0.85, "SID@5": None, "Number of features": 50, "Prediction sets": sets}
    table = results_table({"Accuracy": 0.9}, sparse, "chiqpm_50_5")
    rows = [line.split() for line in table.splitlines()]
    assert ["Accuracy", "90.0%", "85.0%"] in rows
    assert not any("SID@5" in row for row in rows)  # which nobody measured
    assert ["Number", "of", "features", "-", "50"] in rows
    assert ["THR", "91.2%", "(1.50)"] in rows


def test_methods_are_compared_on_the_same_images():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(300, 4, generator=generator)
    weight = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]])
    logits = features @ weight.T.float()
    labels = torch.multinomial((3 * logits).softmax(dim=1), 1, generator=generator).squeeze(1)
    peaks = torch.zeros(300, 4, 2)
    table = FeatureTable(features, features, labels, logits.argmax(dim=1), peaks, logits, peak_values=features)
    by_name = methods(weight, table[:200])
    results = compare_methods(by_name, table[200:], [0.9], np.ones((3, 3)) - np.eye(3))
    for method, by_coverage in results.items():
        assert by_coverage["0.9"]["Coverage"] > (0.75 if "paper" in method else 0.85)
        assert by_coverage["0.9"]["Set coherence"] == pytest.approx(1)
    assert list(methods(None, table[:200])) == [method.name for method in METHODS if not method.hierarchical]


def test_coverage_of_every_class():
    sets = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=torch.bool)
    coverage = coverage_per_class(sets, torch.tensor([0, 0, 1]))
    assert coverage[:2].tolist() == [0.5, 1] and coverage[2].isnan()


def test_class_attributes_as_an_attribute_table():
    table = class_attribute_table(np.array([1, 0]), np.array([[100.0, 10.0], [50.0, 49.0]]))
    assert table.tolist() == [[1, 1, 1, 4], [1, 2, 0, 4], [2, 1, 1, 4], [2, 2, 0, 4]]


def test_peaks_lie_on_the_nearest_visible_part():
    peaks = torch.tensor([[[0.5, 0.1], [0.5, 0.9]]] * 2)  # (row, column): left, right
    locations = torch.tensor([[[0.2, 0.5], [0.7, 0.5]]] * 2)  # (x, y)
    visible = torch.tensor([[True, True], [True, False]])
    assert part_under_peak(peaks, locations, visible).tolist() == [[0, 1], [0, 0]]


# Three classes, two parts, features 0..2; class 1 differs from class 0 in part 1 only.
PARTS_OF_CLASSES = torch.tensor([[0, 0], [0, 1], [1, 2]])
WEIGHT = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, 1]])


def test_separating_features_are_sought_on_the_differing_part():
    labels, active = torch.tensor([0, 0, 1, 2]), torch.ones(4, 3, dtype=torch.bool)
    # Feature 1 separates class 0 from 1, feature 2 class 1 from 0, both through part 1.
    parts = torch.tensor([[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 1, 1]])
    visible = torch.ones(4, 2, dtype=torch.bool)
    cases = separating_cases(active, labels, WEIGHT, PARTS_OF_CLASSES, visible)
    # Right in images 0 and 2 of three; of all features 1/3, 0 and 1/3 lie on part 1 there.
    assert differing_part_rate(cases, parts) == pytest.approx((2 / 3, 2 / 9))
    visible[0, 1], active[1, 1] = False, False  # leaves image 2 alone
    cases = separating_cases(active, labels, WEIGHT, PARTS_OF_CLASSES, visible)
    assert differing_part_rate(cases, parts) == pytest.approx((1, 1 / 3))


def test_the_part_that_causes_a_feature_is_the_visible_one_whose_swap_lowers_it_most():
    pooled = torch.tensor([[5.0, 5.0]])
    # Of two other looks: part 0 lowers feature 0 by 1 and 3, part 1 by 3 and 0; feature 1 by 0 and 0, 1 and 1.
    swapped = torch.tensor([[[[4.0, 5.0], [2.0, 5.0]], [[2.0, 4.0], [5.0, 4.0]]]])
    assert causing_part(pooled, swapped, torch.tensor([[True, True]])).tolist() == [[0, 1]]
    assert causing_part(pooled, swapped, torch.tensor([[False, True]])).tolist() == [[1, 1]]


def test_best_attributes_of_a_feature_are_compared_across_its_classes():
    labels, active = torch.tensor([0, 1, 2]), torch.ones(3, 3, dtype=torch.bool)
    parts = torch.tensor([[0, 1, 0], [0, 1, 1], [1, 1, 1]])
    # Feature 0: part 0 in classes 0, 1: the same look. Feature 1: part 1 in classes 0, 2 with looks 0, 2.
    # Feature 2: part 1 in classes 1, 2 with looks 1, 2. Looks: (part 0, 0) twice, part 1: 0, 2, 1, 2.
    rate = attribute_constancy(parts, active, labels, WEIGHT, PARTS_OF_CLASSES)
    assert rate == pytest.approx((1 / 3, 2 * 2 / (6 * 5)))


def test_random_peaks_explain_no_better_than_chance():
    generator = torch.Generator().manual_seed(0)
    birds = Birds()
    n = len(birds)
    features = torch.rand(n, 6, generator=generator)
    peaks = torch.rand(n, 6, 2, generator=generator)
    labels = torch.from_numpy(birds.labels)
    table = FeatureTable(features, torch.zeros(n, 6), labels, torch.zeros(n), peaks, peak_values=features)
    weight = torch.tensor([[1, 1, 0, 0, 1, 0], [1, 0, 1, 0, 0, 1], [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 1, 0]])
    swapped = torch.rand(n, P, 1, 6, generator=generator)
    truth = list(explanation_truth(table, weight, birds, swapped).values())
    for rate, chance in (truth[:2], truth[2:4]):
        assert rate == pytest.approx(chance, abs=0.1) and 0.4 < chance < 0.6


def test_silent_features_are_named(caplog):
    features = torch.tensor([[0.0, 1.0, 2.0], [0.0, 3.0, 2.0]])
    warn_of_silent_features(features)
    assert "Silent features, 2 of 3," in caplog.text
    caplog.clear()
    warn_of_silent_features(features[:, 1:2])
    assert not caplog.text
