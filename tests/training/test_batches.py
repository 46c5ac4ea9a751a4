"""Which images an epoch shows, whoever trains and whoever loads."""

import os

import pytest
import torch
from fake_datasets import load, make_cub

from configs.errors import UsageError
from configs.hardware import Hardware
from training.batches import SeededImages, epoch_batches, epoch_order


class Labelled(list):
    """Images of two classes, the second of which is rare."""

    labels = torch.tensor([0] * 900 + [1] * 100).numpy()


def test_a_balanced_epoch_shows_classes_equally_often():
    data = Labelled(range(1000))
    plain = epoch_order(data, torch.Generator().manual_seed(0))
    assert sorted(plain.tolist()) == list(data)
    data.balanced = True
    order = epoch_order(data, torch.Generator().manual_seed(0))
    assert len(order) == 1000 and 0.45 < (order >= 900).double().mean() < 0.55
    assert torch.equal(order, epoch_order(data, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(("n_images", "expected"), [(7, [3]), (8, [4]), (20, [4, 4])])
def test_processes_have_as_many_different_images_of_every_batch(monkeypatch, n_images, expected):
    images = [(torch.zeros(1), i) for i in range(n_images)]
    monkeypatch.setenv("WORLD_SIZE", "2")
    shares = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        batches = epoch_batches(images, 8, Hardware.choose("cpu", 0), seed=3)
        shares.append([labels.tolist() for _, labels in batches])
    for share in shares:
        assert [len(labels) for labels in share] == expected
    seen = [label for share in shares for labels in share for label in labels]
    assert len(set(seen)) == len(seen)
    with pytest.raises(UsageError, match="1 training images cannot be shared by 2 processes"):
        epoch_batches(images[:1], 8, Hardware.choose("cpu", 0), seed=3)


def test_augmentation_does_not_depend_on_who_loads(tmp_path):
    images = load("CUB2011", make_cub(tmp_path, train=3, test=2)).train
    seeded = SeededImages(images, seed=5)
    batches = [torch.cat([batch for batch, _ in torch.utils.data.DataLoader(seeded, 2, num_workers=n)]) for n in (0, 2)]
    assert torch.equal(*batches)
    assert not torch.equal(batches[0][0], SeededImages(images, seed=6)[0][0])
    state = torch.get_rng_state()
    _ = seeded[0]
    assert torch.equal(state, torch.get_rng_state())  # dropout goes on as if nothing had been drawn


def test_loading_processes_share_images_that_were_read_before(tmp_path):
    images = load("CUB2011", make_cub(tmp_path, train=3, test=2)).train
    images.preload(threads=2)
    for path in images.paths:
        os.remove(path)
    loader = torch.utils.data.DataLoader(images, batch_size=2, num_workers=2)
    assert sum(len(labels) for _, labels in loader) == len(images)
