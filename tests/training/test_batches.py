"""Which images an epoch shows."""

import torch

from training.batches import epoch_order


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
