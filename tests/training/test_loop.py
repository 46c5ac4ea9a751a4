"""What a loss remembers between epochs is in the checkpoint: a training that goes on ends as one left alone."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import TensorDataset

from architectures.classifier import build_dense_model
from configs.hardware import Hardware
from configs.recipes import DenseRecipe, GroupsRecipe
from training.batches import seed_everything
from training.checkpoint import Checkpoint
from training.dense import dense_phases
from training.loop import train_phases

RECIPE = DenseRecipe(epochs=3, batch_size=4, mixed_images=2, left_over_rounds=1)
IMAGES = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 2


class Killed(Exception):
    """In place of a signal."""


def train(file, monkeypatch, *, killed_after=None):
    """A training of three epochs whose targets are set before the second one; or until a checkpoint."""
    seed_everything(0)
    model = build_dense_model("local15", 2)
    (phase,) = dense_phases(model, RECIPE, GroupsRecipe(), True, lambda: (IMAGES, LABELS, IMAGES))
    checkpoint = Checkpoint(file, {})
    save, saved = checkpoint.save, []

    def save_and_perhaps_die(state):
        save(state)
        saved.append(state["epoch"])
        if len(saved) == killed_after:
            raise Killed

    def renew(looks, pooled, labels, peaks):
        targets = {name: rows.new_zeros(1, *rows.shape[1:]) for name, rows in looks.state.items()}
        looks.state.update(targets, classes=torch.tensor([[True, False]]))

    monkeypatch.setattr(checkpoint, "save", save_and_perhaps_die)
    monkeypatch.setattr("training.left_over_looks.LeftOverLooks.renew", renew)
    history = SimpleNamespace(rows=[], restore=list, add=list, draw=list)
    monitor = SimpleNamespace(history=history, measure=lambda *_: None, seconds_left=lambda *_: 0.0)
    run = SimpleNamespace(
        hardware=Hardware.choose("cpu", workers=0),
        data=SimpleNamespace(train=TensorDataset(IMAGES, LABELS)),
        settings=SimpleNamespace(seed=0),
    )
    train_phases(run, model, [phase], checkpoint, monitor)
    return model.state_dict(), saved


@pytest.mark.parametrize("killed_after", [1, 2])
def test_targets_of_spare_features_survive_a_kill(tmp_path, monkeypatch, killed_after):
    whole, _ = train(tmp_path / "whole.partial", monkeypatch)
    with pytest.raises(Killed):
        train(tmp_path / "killed.partial", monkeypatch, killed_after=killed_after)
    resumed, epochs = train(tmp_path / "killed.partial", monkeypatch)
    assert epochs == list(range(killed_after + 1, 4))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_a_training_of_other_settings_begins_again_and_says_so(tmp_path, caplog):
    path = tmp_path / "dense.partial"
    Checkpoint(path, {"lr": 1}).save({"epoch": 3})
    assert Checkpoint(path, {"lr": 1}).load()["epoch"] == 3 and not caplog.text
    assert Checkpoint(path, {"lr": 2}).load() is None
    assert f"{path} was made with other settings or images; starting again" in caplog.text


def test_a_training_without_rounds_for_left_over_looks_has_no_such_loss():
    model = build_dense_model("local15", 2)
    for rounds in (0, 1):
        recipe = replace(RECIPE, left_over_rounds=rounds)
        (phase,) = dense_phases(model, recipe, GroupsRecipe(), True, lambda: (IMAGES, LABELS, IMAGES))
        losses = phase(True).extra_losses(model(IMAGES), LABELS, 0)
        assert ("left_over" in losses) == bool(rounds) and "mixed" in losses
