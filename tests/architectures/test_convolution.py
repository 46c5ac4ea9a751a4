"""Fast convolutions compute what the library's do, and only where they are meant to."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torchvision.models import resnet18, resnet34, resnet50

from architectures.classifier import build_dense_model
from architectures.convolution import Conv2d, WinogradConvolution, pointwise_convolution

WINOGRAD = "WinogradConvolution"


def random_case(n_images, n_in, n_out, height, width, kernel=3, dtype=torch.float64):
    torch.manual_seed(0)
    maps = torch.randn(n_images, n_in, height, width, dtype=dtype)
    weight = torch.randn(n_out, n_in, kernel, kernel, dtype=dtype)
    return maps.to(memory_format=torch.channels_last).requires_grad_(), weight.requires_grad_()


def results(convolve, maps, weight):
    """Output and both gradients for an arbitrary gradient of the output."""
    output = convolve(maps, weight)
    upstream = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output).sin()
    return output, *torch.autograd.grad(output, (maps, weight), upstream)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 1), (4, 6), (5, 13)])
def test_tiles_give_the_convolution_and_its_gradients(size):
    case = random_case(2, 3, 5, *size)
    expected = results(lambda maps, weight: conv2d(maps, weight, padding=1), *case)
    found = results(WinogradConvolution.apply, *case)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_one_product_gives_the_pointwise_convolution_and_its_gradients():
    case = random_case(2, 3, 5, 4, 6, kernel=1)
    found, expected = results(pointwise_convolution, *case), results(conv2d, *case)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_single_precision_suffices():
    case = random_case(4, 128, 128, 8, 8, dtype=torch.float32)
    found = results(WinogradConvolution.apply, *case)
    exact = results(lambda x, w: conv2d(x, w, padding=1), *(part.double() for part in case))
    for ours, theirs in zip(found, exact, strict=True):
        assert (ours - theirs).abs().max() < 5e-5 * theirs.abs().max()


def made(n_channels=128, kernel=3, stride=1):
    conv = nn.Conv2d(n_channels, n_channels, kernel, stride, padding=kernel // 2, bias=False)
    return Conv2d.like(conv).to(memory_format=torch.channels_last)


def ran(conv: Conv2d, maps: torch.Tensor) -> str:
    return conv(maps).grad_fn.name()


def channels_last(*shape, dtype=torch.float32):
    return torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last)


def test_only_training_on_large_channels_last_maps_is_changed():
    maps = channels_last(16, 128, 8, 8)
    assert WINOGRAD in ran(made(), maps)
    assert "Permute" in ran(made(kernel=1), maps)
    library = "ConvolutionBackward0"
    assert ran(made().eval(), maps) == library
    assert ran(made(kernel=1).eval(), maps) == library
    assert ran(made(), maps.contiguous()) == library
    assert ran(made(stride=2), maps) == library
    assert ran(made(kernel=1, stride=2), maps) == library
    assert ran(made(64), channels_last(16, 64, 8, 8)) == library, "few channels"
    assert ran(made(), maps[:4]) == library, "few tiles"
    assert ran(made(), channels_last(64, 128, 2, 2)) == library, "empty tiles"
    assert ran(made().bfloat16(), maps.bfloat16()) == library, "too coarse for the transforms"
    with torch.autocast("cpu", torch.bfloat16):
        assert WINOGRAD not in ran(made(), maps)
    conv = made()
    with torch.no_grad():
        assert torch.equal(conv(maps), nn.Conv2d.forward(conv, maps))
        torch.testing.assert_close(made(kernel=1)(maps).shape, maps.shape)
    assert not torch.equal(conv(maps), nn.Conv2d.forward(conv, maps)), "rounds otherwise"


@pytest.mark.parametrize("network", [resnet18, resnet34, resnet50])
def test_the_network_keeps_torchvisions_names_and_random_weights(network):
    torch.manual_seed(0)
    theirs = network().state_dict()
    torch.manual_seed(0)
    ours = build_dense_model(network.__name__, n_classes=3).state_dict()
    assert theirs.keys() - ours.keys() == {"fc.weight", "fc.bias"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() & theirs.keys())


def test_a_training_step_equals_the_librarys(monkeypatch):
    images = channels_last(8, 3, 64, 64, dtype=torch.float64)

    def gradients():
        torch.manual_seed(0)
        model = build_dense_model("resnet18", n_classes=3).double()
        model = model.to(memory_format=torch.channels_last).train()
        model(images).logits.logsumexp(dim=1).sum().backward()
        return [parameter.grad for parameter in model.parameters()]

    ours = gradients()
    monkeypatch.setattr(Conv2d, "forward", nn.Conv2d.forward)
    for found, expected in zip(ours, gradients(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("what", [{"bias": True}, {"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}])
def test_what_the_fast_ways_cannot_do_is_refused(what):
    with pytest.raises(ValueError, match="a fast convolution"):
        Conv2d.like(nn.Conv2d(4, 4, 3, **{"bias": False, **what}))
