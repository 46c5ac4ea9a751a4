"""The device: named ones are taken where they are, and refused in one line where they are not."""

import warnings

import pytest
import torch
from refusals import refused

from configs.errors import UsageError
from configs.hardware import Hardware


@pytest.mark.parametrize("device", ["mps", "cuda:99"])
def test_a_device_that_is_not_here_is_refused_in_one_line(device):
    if device == "mps" and torch.backends.mps.is_available():
        assert Hardware.choose(device).device.type == "mps"
        return
    with refused(UsageError, match=f"--device {device} cannot be used here"):
        Hardware.choose(device)


def test_apples_gpu_is_taken_where_torch_has_it(monkeypatch):
    here = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, device: here(*shape))  # as if it were there
    hardware = Hardware.choose("mps")
    assert (hardware.device.type, hardware.workers) == ("mps", 0)
    assert (hardware.training_dtype, hardware.sum_dtype) == (torch.float32, torch.float32)
    with warnings.catch_warnings(action="error"), hardware.mixed_precision():
        pass


def test_another_device_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="choose one of auto, cpu, cuda, mps"):
        Hardware.choose("meta")  # one of torch's


def test_sums_are_kept_in_what_the_device_has():
    kept = {name: Hardware(torch.device(name), 0).sum_dtype for name in ("cpu", "mps")}
    assert kept == {"cpu": torch.float64, "mps": torch.float32}
