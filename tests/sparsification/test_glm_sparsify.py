"""Q-SENN's quantisation and SLDD-Model's cut: golden cases and the corners they leave out."""

import numpy as np
import pytest
import torch

from sparsification.glm import quantise_qsenn, sparsify_sldd


@pytest.mark.parametrize("case", ["qsenn_quantise_1", "qsenn_quantise_2"])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_quantise_golden(golden, case, convert):
    case = golden(case)
    weights, biases = convert(case["in_weights"]), convert(case["in_biases"])
    per_class = int(case["in_per_class"])
    for weight, bias in [(weights, biases), (weights[-1], biases[-1])]:
        layer = quantise_qsenn(weight, bias, per_class)
        np.testing.assert_allclose(layer.weight, case["out_weight"], atol=1e-9)
        np.testing.assert_allclose(layer.bias, case["out_bias"], atol=1e-9)


@pytest.mark.parametrize("case", ["sldd_sparsify_1", "sldd_sparsify_2"])
def test_sparsify_golden(golden, case):
    case = golden(case)
    layer = sparsify_sldd(case["in_weights"], case["in_biases"], int(case["in_per_class"]))
    assert layer.index == case["out_index"]
    np.testing.assert_allclose(layer.weight, case["out_weight"], atol=1e-12)
    np.testing.assert_allclose(layer.bias, case["out_bias"], atol=1e-12)


@pytest.mark.parametrize("per_class", [1, 3, 5])
def test_count_is_exact_with_ties(per_class):
    weight = torch.randint(-2, 3, (6, 8), generator=torch.Generator().manual_seed(0)).float()
    weight[:, :6] = weight[:, :6].sign() + (weight[:, :6] == 0)  # enough non-zeros, many equal
    bias = torch.arange(6.0)
    assert (quantise_qsenn(weight, bias, per_class).weight != 0).sum() == 6 * per_class
    assert (sparsify_sldd(weight, bias, per_class).weight != 0).sum() == 6 * per_class


def test_quantise_by_hand():
    weight = torch.tensor([[0.5, -3.0, 0.0], [2.0, 1.0, -0.25]])  # the largest is negative
    layer = quantise_qsenn(weight, torch.tensor([0.5, -1.0]), 2)
    a = (0.5 + 3 + 2 + 1) / 4
    torch.testing.assert_close(layer.weight, torch.tensor([[a, -a, 0], [a, a, 0]]))
    torch.testing.assert_close(layer.bias, torch.tensor([1.0, -1.0]))


def test_quantise_equal_sign_counts_give_equal_finite_biases():
    layer = quantise_qsenn(torch.eye(3), torch.tensor([0.1, -0.4, 0.2]), 1)
    torch.testing.assert_close(layer.bias, torch.full((3,), 0.4))


@pytest.mark.parametrize("weight", [torch.zeros(3, 4), torch.eye(3, 4), -torch.eye(3, 4)])
def test_fewer_non_zeros_than_wanted_are_all_kept(weight):
    layer = quantise_qsenn(weight, torch.zeros(3), 2)
    torch.testing.assert_close(layer.weight, weight)
    assert layer.bias.isfinite().all()
    torch.testing.assert_close(sparsify_sldd(weight, torch.zeros(3), 2).weight, weight)


@pytest.mark.parametrize(
    ("non_zeros", "index"),
    [
        ([0, 12, 18], 1),  # every member but the first is too dense: the sparsest of them
        ([0, 4, 4, 30], 1),  # the first of equals
        ([5, 4, 3], 1),  # the first member is left out although it is the densest
        ([20], 0),
        ([0, 0, 0], 1),
    ],
)
def test_which_member_is_cut(non_zeros, index):
    weights = torch.zeros(len(non_zeros), 2, 15)
    for member, count in zip(weights, non_zeros, strict=True):
        member.view(-1)[:count] = 1.0
    biases = torch.arange(2.0 * len(non_zeros)).view(-1, 2)
    layer = sparsify_sldd(weights, biases, per_class=2)  # limit: 4 per class, 8 in all
    assert layer.index == index
    torch.testing.assert_close(layer.bias, biases[index])


@pytest.mark.parametrize("function", [quantise_qsenn, sparsify_sldd])
@pytest.mark.parametrize(
    ("weight_shape", "bias_shape", "per_class"),
    [((3, 4), (4,), 1), ((4,), (4,), 1), ((2, 3, 4), (3, 3), 1), ((3, 4), (3,), 0)],
)
def test_unusable_input_is_refused(function, weight_shape, bias_shape, per_class):
    with pytest.raises(ValueError):
        function(torch.ones(weight_shape), torch.ones(bias_shape), per_class)
