"""The benchmark command: every row can be measured, and both of its ways do the same work."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_run import left_by_main, make_small_run

from benchmarks import alternatives, backbones, large, paths, selection, stages, table
from benchmarks.__main__ import main
from benchmarks.measuring import Measurement, in_own_process, measured
from benchmarks.table import NOTHING, Row
from configs.errors import UsageError
from configs.files import write_json
from conformal import METHODS

TINY: dict[Callable, dict] = {
    stages.step: {"arch": "resnet18", "side": 32, "images": 2},
    stages.epoch: {"images": 2, "width": 40, "height": 30, "side": 16},
    stages.clusters: {"features": 20},
    selection.proven: {"features": 20, "classes": 6, "seconds": 20},
    selection.certified: {"instance": "chiqpm_00", "bound_seconds": 0.1},
    paths.strengths: {"images": 60, "features": 5, "classes": 3, "points": 1, "decades": 1},
}


def tiny(row: Row) -> Row:
    return replace(row, sizes=row.sizes | TINY[row.case], rounds=min(row.rounds, 2))


def cells_of(page: str) -> list[list[str]]:
    """Cells of all lines of all tables."""
    lines = (line.strip("|").split("|") for line in page.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in cells] for cells in lines]


@pytest.fixture
def in_this_process(monkeypatch):
    """Processes of their own take seconds to start."""
    monkeypatch.setattr(table, "in_own_process", lambda function, *given: function(*given))


def test_the_page_holds_the_machine_and_every_row_with_its_ratio(in_this_process, monkeypatch, capsys):
    monkeypatch.setattr(stages, "ROWS", [tiny(row) for row in stages.ROWS])
    main([])
    lines = cells_of(capsys.readouterr().out)
    assert {"commit", "processor", "cores"} <= {cells[0] for cells in lines}
    rows = [cells for cells in lines if len(cells) == 7][2:]
    for row, (title, ours, against, takes, ratio, *memory) in zip(stages.ROWS, rows, strict=True):
        assert title == row.title.format(**row.sizes)
        assert float(ours.split()[0]) > 0 and "MiB" in memory[0], title
        if against == NOTHING:
            assert [takes, ratio, memory[1]] == [NOTHING] * 3, title
        else:
            assert float(ratio.strip("*")) > 0 and "MiB" in memory[1], title


def test_a_missing_package_is_named_in_its_row(in_this_process):
    def missing(*_, **__):
        raise UsageError("the solver needs a package")

    cells = table.compare(Row("Title", missing, sizes={}, against="it"))
    assert cells[:4] == ["Title", NOTHING, "it", "the solver needs a package"]
    assert len(cells) == 7


def test_both_steps_train_alike():
    steps = stages.step(**TINY[stages.step], precision="fp32")
    for _ in range(2):  # the second loss sees what the first step has learnt
        losses = []
        for step in steps:
            torch.manual_seed(0)  # of dropout
            losses.append(step().item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_numbers_that_are_shown_agree():
    ours, highs = (way() for way in selection.proven(**TINY[selection.proven]))
    assert ours == pytest.approx(highs)
    ours, saga = (way() for way in paths.strengths(**TINY[paths.strengths]))
    assert ours[0] <= saga[0] and ours == pytest.approx(saga, rel=0.02)


def test_memory_is_measured_in_another_process():
    measurement, pid = in_own_process(measured, np.ones, 2**22), in_own_process(os.getpid)
    assert measurement.mebibytes == pytest.approx(32, abs=4)
    assert len(measurement.result) == 2**22 and pid != os.getpid()


def test_the_ways_take_turns_and_the_median_counts(monkeypatch):
    drift = iter([9, 8, 1, 5, 2, 7])  # seconds, one after the other

    def run(_, row, way):
        return Measurement(next(drift), mebibytes=0, result=None)

    monkeypatch.setattr(table, "in_own_process", run)
    cells = table.compare(Row("Title", process_ids, sizes={}, against="it", rounds=3))
    assert cells[1:5] == ["2.00 s", "it", "7.00 s", "**3.50**"]


def test_two_ways_of_a_row_live_in_two_processes():
    row = Row("Title", process_ids, sizes={}, against="it", shows="{}")
    _, ours, _, other, *_ = table.compare(row)
    assert len({ours.split()[-1], other.split()[-1], str(os.getpid())}) == 3


def process_ids():
    return os.getpid, os.getpid


def test_the_table_at_a_large_size_has_a_row_for_every_task(in_this_process, capsys):
    main(["large", "--images", "90", "--features", "6", "--classes", "5"])
    lines = cells_of(capsys.readouterr().out)
    found = {title: memory for title, _, memory in (cells for cells in lines if len(cells) == 3)}
    titles = {f"{name}, 90 images" for name in large.TASKS}
    assert titles | {"what", "---"} == set(found)
    assert all("MiB" in found[title] for title in titles)


def test_the_costs_of_a_backbone_are_measured(monkeypatch, capsys):
    monkeypatch.setattr(backbones, "in_own_process", lambda function, *given: function(*given))
    main(["backbones", "--backbones", "local15", "--images", "2", "--batches", "1"])
    name, side, *speeds, epoch = cells_of(capsys.readouterr().out)[-1]
    assert (name, side) == ("local15", "64")
    assert all(float(speed) > 0 for speed in speeds)
    assert float(epoch.split()[0]) == pytest.approx(backbones.CUB_IMAGES / float(speeds[0]) / 60, rel=0.1, abs=0.1)


def test_sets_of_every_method_are_compared(capsys):
    main(["coverage", "--splits", "2"])
    lines = cells_of(capsys.readouterr().out)
    names = {cells[0] for cells in lines if len(cells) == 6}
    assert {method.name for method in METHODS} <= names


class SeesMaps:
    """Stands for the prototype network, whose package may not be installed."""

    n_read = 7

    def fit(self, maps, labels):
        assert maps.shape[1:] == (512, 1, 1)
        assert (labels.reshape(1 + alternatives.VIEWS, -1) == labels[: len(labels) // (1 + alternatives.VIEWS)]).all()

    def predict(self, maps):
        return np.zeros(len(maps), int)


def test_what_else_one_could_take_stands_beside_the_models_of_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(alternatives, "in_own_process", lambda function, *given: function(*given))
    monkeypatch.setattr(alternatives, "find_spec", lambda package: package == "cabrnet")
    monkeypatch.setitem(sys.modules, "benchmarks.prototypes", SimpleNamespace(PrototypeNetwork=SeesMaps))
    run, tables, _ = left_by_main([*make_small_run(tmp_path), "--weights", "none"])
    results = {"Accuracy": tables.test.accuracy, "Features per class": 3}
    write_json(run.folder.file("Results_chiqpm_6_3_FinetunedModel.json"), results)
    main(["alternatives", str(run.folder.path)])
    found = {cells[0]: cells[1:] for cells in cells_of(capsys.readouterr().out) if len(cells) == 7}
    trees = ["decision tree", "decision tree, at most 5 questions"]
    assert [*found][2:] == ["linear probe", *trees, "prototype network", "CHiQPM"]
    assert found["prototype network"][1] == "7"
    assert found["CHiQPM"][:2] == [f"{tables.test.accuracy:.1%}", "3"]
    assert found["linear probe"][1] == "512" and float(found["decision tree"][1]) <= 5
    assert all(float(found[name][-1].split()[0]) > 40 for name in ("linear probe", "CHiQPM"))  # MiB of a ResNet-18


def test_a_prototype_network_finds_the_patch_that_its_classes_differ_in(monkeypatch):
    pytest.importorskip("cabrnet")
    from benchmarks import prototypes

    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=400)
    maps = rng.random((400, 6, 4, 4)).astype(np.float32)
    for image, label in zip(maps, labels, strict=True):
        image[label, rng.integers(4), rng.integers(4)] = 6
    monkeypatch.setattr(prototypes, "EPOCHS", 60)
    monkeypatch.setattr(prototypes, "SLOWER_AFTER", 50)
    model = prototypes.PrototypeNetwork().fit(maps[:300], labels[:300])
    assert model.n_read == 30
    assert np.mean(model.predict(maps[300:]) == labels[300:]) > 0.8


def test_a_concept_bottleneck_decides_by_what_classes_have():
    rng = np.random.default_rng(0)
    has = np.array([[1, 1, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 1, 1], [1, 1, 1, 0, 1]])  # all have the first and last
    labels = rng.integers(4, size=400)
    features = has[labels][:, 1:4] @ rng.normal(size=(3, 12)) + rng.normal(scale=0.3, size=(400, 12))
    model = alternatives.ConceptBottleneck(has.astype(float)).fit(features[:200], labels[:200])
    assert model.n_read == 3
    assert np.mean(model.predict(features[200:]) == labels[200:]) > 0.95
