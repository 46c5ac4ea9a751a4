"""The sparse head against the published implementation."""

import numpy as np
import pytest
import torch

from architectures.sparse_head import SparseHead


@pytest.mark.parametrize("case", [1, 2])
def test_head_is_the_published_one(golden, case):
    data = {key: torch.from_numpy(np.asarray(value)) for key, value in golden(f"sparse_head_{case}").items()}
    selection = torch.arange(data["in_mean"].numel())
    head = SparseHead(
        selection, data["in_weight"], data["in_mean"], data["in_std"], data.get("in_bias"), relu=bool(data["in_relu"])
    )
    logits, features = head(data["in_features"])
    np.testing.assert_allclose(features, data["out_normalised"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(logits, data["out_logits"], atol=1e-5, rtol=1e-5)


def make_head(**options):
    return SparseHead(torch.tensor([4, 1]), torch.eye(2), torch.zeros(2), torch.ones(2), **options)


def test_head_selects_features():
    pooled = torch.arange(10.0).view(2, 5)
    _, features = make_head()(pooled)
    assert features.tolist() == [[4, 1], [9, 6]]


def test_only_the_normalisation_is_trained_and_only_on_request():
    assert [name for name, p in make_head().named_parameters() if p.requires_grad] == []
    trained = make_head(train_normalisation=True).named_parameters()
    assert {name for name, p in trained if p.requires_grad} == {"mean", "std"}


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"mean must have shape \[2\]"):
        SparseHead(torch.tensor([0, 1]), torch.eye(2), torch.zeros(3), torch.ones(2))
