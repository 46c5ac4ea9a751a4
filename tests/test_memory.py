"""What works on all training images' features reads them in parts: results stay, no array is so large."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import TensorDataset

from architectures import activation_modes
from architectures.classifier import build_dense_model
from configs.hardware import Hardware
from evaluation import metrics
from sparsification import constants
from sparsification.features import DenseFeatures, extract_dense_features
from sparsification.glm import choose_features, datafit, regularisation_path
from sparsification.glm.datafit import CrossEntropy

N, F, C = 101, 12, 7
CHOSEN = 3


@pytest.fixture
def table():
    """Features and labels of every class, with a constant feature and one far from 0."""
    generator = np.random.default_rng(0)
    features = generator.random((N, F)) + 0.1
    features[:, 3] = 0.7
    features[:, 4] += 1e4
    return torch.from_numpy(features).float(), torch.from_numpy(generator.permutation(N) % C)


@pytest.fixture
def mapped(tmp_path):
    """Features in a file, of which three tell classes apart, and labels."""
    rng = np.random.default_rng(0)
    n, n_features, n_classes = 600, 40, 30
    labels = rng.permutation(np.arange(n) % n_classes)
    features = rng.normal(size=(n, n_features))
    features[:, [4, 20, 33]] += 2 * rng.normal(size=(n_classes, CHOSEN))[labels]
    features[:, 7] = 0.7
    np.save(tmp_path / "features.npy", features.astype(np.float32))
    file = np.load(tmp_path / "features.npy", mmap_mode="c")
    return torch.from_numpy(file), torch.from_numpy(labels)


class LargestResult(TorchDispatchMode):
    """Most numbers in a tensor that an operation made; views of the input are none."""

    def __init__(self, given: torch.Tensor):
        super().__init__()
        self.entries = 0
        self._given = given.untyped_storage().data_ptr()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() != self._given:
                    entries = storage.nbytes() // tensor.element_size()
                    self.entries = max(self.entries, entries)
        return result


def test_correlation_is_pearsons_whatever_the_parts(table, monkeypatch):
    features, labels = table
    monkeypatch.setattr(constants, "ROWS_AT_A_TIME", 9)
    found = constants.class_feature_correlation(features, labels).numpy()
    expected = np.zeros((F, C))
    for f in set(range(F)) - {3}:
        for c in range(C):
            expected[f, c] = np.corrcoef(features[:, f].double(), labels == c)[0, 1]
    np.testing.assert_allclose(found, expected / np.abs(expected).max(), atol=1e-10)


def test_moments_are_those_of_the_whole(table, monkeypatch):
    features, _ = table
    monkeypatch.setattr(constants, "ROWS_AT_A_TIME", 10)
    mean, std = constants.feature_moments(features)
    torch.testing.assert_close(mean, features.double().mean(dim=0))
    torch.testing.assert_close(std[:3], features[:, :3].double().std(dim=0, correction=0))
    assert std[3] == 0 and 0.2 < std[4] < 0.4


def test_metrics_do_not_depend_on_the_parts(table, monkeypatch):
    features, labels = table
    calls = {
        "independence": lambda: metrics.class_independence(features, labels, C),
        "correlation": lambda: metrics.feature_correlation(features),
        "contrastiveness": lambda: metrics.contrastiveness(features[:, :3]),
        "coherence": lambda: metrics.set_coherence(features > 0.5, torch.eye(F).roll(1, dims=0)),
    }
    whole = {name: call() for name, call in calls.items()}
    monkeypatch.setattr(metrics, "ELEMENTS_PER_CHUNK", 9 * F)
    monkeypatch.setattr(activation_modes, "VALUES_PER_BLOCK", N)
    assert {name: call() for name, call in calls.items()} == pytest.approx(whole, abs=1e-12)


def test_no_constant_and_no_metric_makes_an_array_as_large_as_all_features(table, monkeypatch):
    features, labels = table
    monkeypatch.setattr(constants, "ROWS_AT_A_TIME", 10)
    monkeypatch.setattr(metrics, "ELEMENTS_PER_CHUNK", 10 * F)
    monkeypatch.setattr(activation_modes, "VALUES_PER_BLOCK", N)
    with LargestResult(features) as largest:
        constants.class_feature_correlation(features, labels)
        metrics.class_independence(features, labels, C)
        metrics.feature_correlation(features)
        metrics.contrastiveness(features)
    assert 10 * F <= largest.entries < N * F / 4


def test_no_path_makes_an_array_as_large_as_all_features_or_all_logits(mapped, monkeypatch):
    features, labels = mapped
    n, n_classes = len(labels), len(labels.unique())
    monkeypatch.setattr(constants, "ROWS_AT_A_TIME", 150)
    monkeypatch.setattr(datafit, "BLOCK_ENTRIES", 6000)
    with LargestResult(features) as largest:
        chosen = choose_features(features, labels, CHOSEN)
        inside = features[:, chosen]
        member = regularisation_path(inside, labels, lambdas=[0.05])
        coefficients = torch.cat([member.weights[0], member.biases[0, :, None]], 1)
        n_correct = CrossEntropy(inside, labels).n_correct(coefficients)
    assert sorted(chosen.tolist()) == [4, 20, 33]
    assert n_correct > 2 * n / n_classes  # twice what guessing gets
    assert n * CHOSEN <= largest.entries <= 6000 < n * n_classes < features.numel()


def test_paths_do_not_depend_on_the_blocks(mapped, monkeypatch):
    features, labels = mapped

    def results():
        chosen = choose_features(features, labels, CHOSEN)
        return chosen, regularisation_path(features[:, chosen], labels, lambdas=[0.05])

    chosen, whole = results()
    monkeypatch.setattr(datafit, "BLOCK_ENTRIES", 9000)
    again, parts = results()
    assert again.tolist() == chosen.tolist()
    torch.testing.assert_close(parts.weights, whole.weights, atol=1e-3, rtol=1e-3)
    problem = CrossEntropy(features, labels)
    coefficients = torch.randn(30, 41, generator=torch.Generator().manual_seed(0)).double()
    in_parts = (problem.value_and_gradient(coefficients), problem.n_correct(coefficients))
    monkeypatch.undo()
    problem = CrossEntropy(features, labels)
    at_once = (problem.value_and_gradient(coefficients), problem.n_correct(coefficients))
    torch.testing.assert_close(in_parts, at_once)


def test_dense_features_are_read_from_their_file(tmp_path):
    torch.manual_seed(0)
    images = torch.rand(70, 3, 32, 32)  # more than a batch
    model = build_dense_model("resnet18", 2, "none")
    dataset, hardware = TensorDataset(images, torch.arange(70) % 2), Hardware.choose("cpu", 0)
    found = extract_dense_features(model, dataset, hardware, tmp_path / "pooled.npy")
    np.savez(tmp_path / "rest.npz", **found)
    features = DenseFeatures.load(tmp_path / "pooled.npy", tmp_path / "rest.npz")
    with torch.inference_mode():
        maps = model.backbone(images)
    torch.testing.assert_close(features.pooled, maps.mean(dim=(2, 3)))
    locality, edge = constants.locality_statistics(maps, maps.mean(dim=(2, 3)))
    torch.testing.assert_close(features.locality, locality)
    torch.testing.assert_close(features.edge, edge)
    assert features.labels.tolist() == dataset.tensors[1].tolist()
    features.pooled[0] = -1  # the file is not what is written to
    assert np.load(tmp_path / "pooled.npy").min() >= 0


A_LARGER_AND_A_SMALLER_TENSOR = """
import resource, torch
from configs.hardware import Hardware
hardware = Hardware.choose("cpu", 0)
{prepare}
for numbers in (2**25, 2**24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(numbers)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="concerns the C library of Linux")
def test_training_uses_freed_memory_again():
    def page_faults(prepare: str) -> list[int]:
        program = A_LARGER_AND_A_SMALLER_TENSOR.format(prepare=prepare)
        printed = subprocess.check_output([sys.executable, "-c", program], text=True)
        return [int(line) for line in printed.split()]

    pages = 4 * 2**24 // 4096  # of the smaller tensor
    assert min(page_faults("")) > pages / 2, "both come from the system"
    first, second = page_faults("hardware.keep_freed_memory()")
    assert first > pages / 2 and second < pages / 100
