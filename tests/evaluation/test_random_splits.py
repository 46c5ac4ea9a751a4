"""Prediction sets over random splits: what one split gives, many times, of a run's files or on a page."""

import numpy as np
import pytest
import torch

from architectures.sparse_head import SparseLayer
from benchmarks.coverage import simulated
from configs.errors import UsageError
from conformal import METHODS, calibration_split
from evaluation.prediction_sets import COVERAGES, compare_methods, methods
from evaluation.random_splits import random_splits, saved_model, saved_splits


@pytest.fixture
def finished(tmp_path):
    """A run's folder with a model's weights and feature table, under the names of two model types."""
    weight, table = simulated(n_images=120, n_classes=8)
    layer = SparseLayer(torch.arange(weight.shape[1]), weight, torch.zeros(50), torch.ones(50))
    for model in ("chiqpm_50_5", "qsenn_50_5"):
        table.save(tmp_path / f"{model}_Features_test.npz")
        layer.save(tmp_path / f"{model}_Selection.npz")
    return tmp_path


def test_the_means_are_those_of_one_split_after_the_other(finished):
    weight, table = saved_model(finished, "chiqpm_50_5")
    results = random_splits(weight, table, 3, stratified=True).results()
    parts = [[table[rows] for rows in calibration_split(table.labels, seed)] for seed in range(3)]
    alone = [compare_methods(methods(weight, a, seed), b, COVERAGES) for seed, (a, b) in enumerate(parts)]
    for name in results:
        for target, result in results[name].items():
            for key in ("Coverage", "Average set size"):
                assert result[key] == pytest.approx(np.mean([split[name][target][key] for split in alone]))
            size, of_thr = (results[method][target]["Average set size"] for method in (name, "THR"))
            assert result["Set size, of THR's"] == pytest.approx(size / of_thr)


def test_splits_are_drawn_over_all_images_unless_stratified(finished):
    weight, table = saved_model(finished, "qsenn_50_5")
    free, stratified = (random_splits(weight, table, 2, stratified) for stratified in (False, True))
    assert (free.n_calibration, free.n_test) == (stratified.n_calibration, stratified.n_test)
    assert any((free.sizes[key] != stratified.sizes[key]).any() for key in free.sizes)


def test_classes_that_are_no_sets_of_features_have_no_hierarchy(finished):
    found = random_splits(*saved_model(finished, "qsenn_50_5"), 1)
    assert {name for name, _ in found.sizes} == {method.name for method in METHODS if not method.hierarchical}


def test_a_run_without_its_feature_table_is_one_line(finished):
    with pytest.raises(UsageError, match=r"is no finished run of qpm_50_5: No such file"):
        saved_model(finished, "qpm_50_5")


def test_results_are_kept_until_the_model_or_the_splits_change(finished, monkeypatch):
    kept = saved_splits(finished, "qsenn_50_5", 2)
    assert kept == random_splits(*saved_model(finished, "qsenn_50_5"), 2).results()
    with monkeypatch.context() as patch:
        patch.delattr("evaluation.random_splits.random_splits")  # it is not called
        assert saved_splits(finished, "qsenn_50_5", 2) == kept
    assert saved_splits(finished, "qsenn_50_5", 3) != kept
    _, table = saved_model(finished, "qsenn_50_5")
    table[torch.arange(100)].save(finished / "qsenn_50_5_Features_test.npz")
    assert saved_splits(finished, "qsenn_50_5", 2) != kept
