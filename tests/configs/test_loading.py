"""Batches are the same whatever memory loading processes can share, and their errors arrive as they are."""

import gc

import pytest
import torch

from configs import loading
from configs.errors import RunError
from configs.hardware import Hardware
from configs.loading import Batches
from configs.script import one_line


class Numbered(torch.utils.data.Dataset):
    """Items say their index; some cannot be loaded."""

    def __init__(self, error=None):
        self.error = error

    def __len__(self):
        return 10

    def __getitem__(self, index):
        if self.error and index == 4:
            raise self.error
        return torch.full((1000,), index)


BATCHES = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize("free", [0, 10**5, 10**9])
def test_batches_are_the_same_however_little_memory_can_be_shared(monkeypatch, free):
    monkeypatch.setattr(loading, "free_shared_memory", lambda: free)
    loaded = [b[:, 0].tolist() for b in Batches(Numbered(), BATCHES, Hardware.choose("cpu", 2))]
    assert loaded == BATCHES


def test_images_that_cannot_even_be_stacked_in_shared_memory_are_loaded(monkeypatch):
    def stacked(items):
        if torch.utils.data.get_worker_info() is None:
            return torch.stack(items)
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left")

    batches = Batches(Numbered(), BATCHES, Hardware.choose("cpu", 2), stacked)
    assert [b[:, 0].tolist() for b in batches] == BATCHES


def test_a_loader_that_cannot_send_is_gone_at_once(monkeypatch):
    monkeypatch.setattr(loading, "free_shared_memory", lambda: 0)
    gc.disable()
    try:
        list(Batches(Numbered(), BATCHES, Hardware.choose("cpu", 2)))
        kept = [type(thing).__name__ for thing in gc.get_objects()]
    finally:
        gc.enable()
    assert "_MultiProcessingDataLoaderIter" not in kept


def test_little_shared_memory_is_said(monkeypatch, caplog):
    said = []
    monkeypatch.setattr(loading, "free_shared_memory", lambda: 50)
    monkeypatch.setattr(loading, "warn_once", lambda _, message: said.append(message))
    list(Batches(Numbered(), BATCHES, Hardware.choose("cpu", 1)))
    assert len(said) == 1 and "/dev/shm has 0.0 MB left" in said[0] and "--workers 0" in said[0]


@pytest.mark.parametrize("error", [RunError("The image a.png is missing."), FileNotFoundError("a.png")])
@pytest.mark.parametrize("workers", [0, 2])
def test_errors_of_images_arrive_from_loading_processes_as_one_line(error, workers):
    with pytest.raises(type(error)) as raised:
        list(Batches(Numbered(error), BATCHES, Hardware.choose("cpu", workers)))
    assert one_line(raised.value) in (str(error), f"FileNotFoundError: {error}")


def test_there_are_no_more_loading_processes_than_batches(monkeypatch):
    started = []
    monkeypatch.setattr(loading, "DataLoader", lambda *_, num_workers, **__: started.append(num_workers) or BATCHES)
    list(Batches(Numbered(), BATCHES, Hardware.choose("cpu", 1000)))
    assert started == [5]
