"""Q-SENN and SLDD-Model read the features in blocks: same results, nothing of the size of all features or logits."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sparsification import constants
from sparsification.glm import choose_features, datafit, regularisation_path
from sparsification.glm.datafit import CrossEntropy

N, F, C, CHOSEN = 600, 40, 30, 3


@pytest.fixture
def mapped(tmp_path):
    """Features in a file, of which three tell classes apart, and labels."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(N) % C)
    features = rng.normal(size=(N, F))
    features[:, [4, 20, 33]] += 2 * rng.normal(size=(C, CHOSEN))[labels]
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


def test_no_array_is_as_large_as_all_features_or_all_logits(mapped, monkeypatch):
    features, labels = mapped
    monkeypatch.setattr(constants, "ROWS_AT_A_TIME", 150)
    monkeypatch.setattr(datafit, "BLOCK_ENTRIES", 6000)
    with LargestResult(features) as largest:
        chosen = choose_features(features, labels, CHOSEN)
        inside = features[:, chosen]
        member = regularisation_path(inside, labels, lambdas=[0.05])
        coefficients = torch.cat([member.weights[0], member.biases[0, :, None]], 1)
        n_correct = CrossEntropy(inside, labels).n_correct(coefficients)
    assert sorted(chosen.tolist()) == [4, 20, 33]
    assert n_correct > 2 * N / C  # twice what guessing gets
    assert N * CHOSEN <= largest.entries <= 6000 < N * C < N * F


def test_results_do_not_depend_on_the_blocks(mapped, monkeypatch):
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
    coefficients = torch.randn(C, F + 1, generator=torch.Generator().manual_seed(0)).double()
    in_parts = (problem.value_and_gradient(coefficients), problem.n_correct(coefficients))
    monkeypatch.undo()
    problem = CrossEntropy(features, labels)
    at_once = (problem.value_and_gradient(coefficients), problem.n_correct(coefficients))
    torch.testing.assert_close(in_parts, at_once)
