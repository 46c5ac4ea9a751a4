"""Files with state dicts, good and bad ones."""

import torch

from architectures.classifier import build_dense_model
from architectures.sparse_head import SparseHead
from configs.model_card import ModelCard

WEIGHT = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]).float()


class Malicious:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (print, ("code ran",))


def save(state, path, card: ModelCard | None = None) -> str:
    """Write a state with `torch.save`, and its card; its path as text."""
    torch.save(state, path)
    if card is not None:
        card.add_to(path)
    return str(path)


def save_half(state, path) -> None:
    """A file of which the end is missing."""
    save(state, path)
    path.write_bytes(path.read_bytes()[:100_000])


def save_old_and_damaged(path) -> None:
    """A file as PyTorch wrote it before 1.6, that asks for other arguments than it gives."""
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v3"))


def published(bias=None, weight=WEIGHT, arch="resnet18"):
    """A trained model and its state dict as the authors publish it."""
    torch.manual_seed(0)
    model = build_dense_model(arch, len(weight))
    head = SparseHead(torch.tensor([3, 17, 200, 511]), weight, torch.rand(4), torch.rand(4), bias, relu=True)
    model.set_sparse_head(head)
    model.eval()
    return model, model.state_dict()
