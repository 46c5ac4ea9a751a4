"""The training loop: forward, loss, backward, step, log."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from architectures.checkpoints import save_tensors
from architectures.classifier import InterpretableClassifier, ModelOutput
from configs import processes
from configs.errors import RunError
from configs.hardware import Hardware
from configs.loading import Batches
from configs.model_card import ModelCard
from configs.run_folder import Artefact
from configs.script import progress
from training.batches import epoch_batches, seed_everything, seed_of
from training.checkpoint import Checkpoint, checkpoint_of
from training.distributed import spread

log = logging.getLogger(__name__)


@dataclass
class Phase:
    """One optimiser's life: the dense training, or one finetuning round.

    Attributes:
        name: what the progress bar says.
        epochs: how many.
        batch_size: images a step, of all processes together.
        optimizer: parameter groups; their rates are set by `learning_rates`.
        learning_rates: epochs done (a fraction within an epoch) -> rate of every group.
        extra_loss: output, targets, epoch -> what is added to the cross entropy.
        label_smoothing: of the cross entropy.
    """

    name: str
    epochs: int
    batch_size: int
    optimizer: torch.optim.Optimizer
    learning_rates: Callable[[float], list[float]]
    extra_loss: Callable[[ModelOutput, Tensor, int], Tensor]
    label_smoothing: float = 0.0


def train_artefact(
    artefact: Artefact,
    model: InterpretableClassifier,
    phases: list[Callable[[bool], Phase]],
    dataset,
    hardware: Hardware,
    *,
    seed: int,
    card: ModelCard,
) -> None:
    """Train a model and leave its state dict and its card as a finished file; other arguments as in `train_phases`."""

    def write(path: Path) -> None:
        save_tensors(model.state_dict(), path)
        card.add_to(path)

    checkpoint = checkpoint_of(artefact)
    train_phases(model, phases, dataset, hardware, seed=seed, checkpoint=checkpoint)
    artefact.write(write)
    checkpoint.remove()


def train_phases(
    model: InterpretableClassifier,
    phases: list[Callable[[bool], Phase]],
    dataset,
    hardware: Hardware,
    *,
    seed: int,
    checkpoint: Checkpoint,
) -> None:
    """Train a model through phases, going on from the last finished epoch of an interrupted call.

    Args:
        model: trained in place.
        phases: each makes its phase, with a fresh optimiser, when its turn has come; told whether the phase is
            begun (True) or gone on with.
        dataset: yields augmented images and labels.
        hardware: device and loading workers.
        seed: of the run; shuffling, augmentation and dropout follow from it.
        checkpoint: written after every epoch; the caller removes it once the result is saved.

    Raises:
        RunError: if the loss is no longer finite.
        UsageError: if several processes cannot share the images or a batch.
    """
    hardware.keep_freed_memory()
    if hardware.workers_share_memory:
        dataset.preload(hardware.workers)
    state = checkpoint.load() or {"phase": 0, "epoch": 0}
    if "model" in state:
        model.load_state_dict(state["model"])
        log.info("Going on after epoch %d of an interrupted training.", state["epoch"])
    for index in range(state["phase"], len(phases)):
        first_epoch = state["epoch"] if index == state["phase"] else 0
        phase = phases[index](first_epoch == 0)
        if first_epoch:
            phase.optimizer.load_state_dict(state["optimizer"])
        network = spread(model, phase.batch_size)
        for epoch in range(first_epoch, phase.epochs):
            epoch_seed = seed_of(seed, phase.name, epoch)
            seed_everything(epoch_seed, processes.rank())
            batches = epoch_batches(dataset, phase.batch_size, hardware, epoch_seed)
            _train_epoch(network, phase, batches, hardware, epoch)
            checkpoint.save(
                {
                    "phase": index,
                    "epoch": epoch + 1,
                    "model": model.state_dict(),
                    "optimizer": phase.optimizer.state_dict(),
                }
            )


def training_step(
    network: nn.Module,
    phase: Phase,
    images: Tensor,
    targets: Tensor,
    epoch: int,
    hardware: Hardware,
) -> tuple[Tensor, Tensor]:
    """One step of the optimiser.

    Args:
        network: in training mode; returns a `ModelOutput`.
        phase: optimiser and losses.
        images: `[B, 3, S, S]` on the device.
        targets: `[B]` on the device.
        epoch: of the phase, from 0.
        hardware: precision of the network.

    Returns:
        The loss (a scalar) and the logits `[B, C]`, without gradients, on the device.
    """
    with hardware.mixed_precision():
        output = network(images)
    loss = cross_entropy(output.logits, targets, label_smoothing=phase.label_smoothing)
    loss = loss + phase.extra_loss(output, targets, epoch)
    phase.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    phase.optimizer.step()
    return loss.detach(), output.logits.detach()


def _train_epoch(
    network: nn.Module, phase: Phase, loader: Batches, hardware: Hardware, epoch: int
) -> None:
    network.train()
    n_batches = len(loader)
    # Loss, hits and images so far; they stay on the device: reading them every step would make a GPU wait.
    sums = torch.zeros(3, dtype=hardware.sum_dtype, device=hardware.device)
    bar = progress(loader, desc=f"{phase.name} {epoch + 1}/{phase.epochs}", unit="batch")
    for step, (images, targets) in enumerate(bar):
        rates = phase.learning_rates(epoch + step / n_batches)
        for group, rate in zip(phase.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        images = hardware.to_device(images)
        targets = targets.to(hardware.device, non_blocking=True)
        loss, logits = training_step(network, phase, images, targets, epoch, hardware)
        n_correct = (logits.argmax(dim=1) == targets).sum()
        sums += torch.stack([loss * len(targets), n_correct, torch.full_like(loss, len(targets))])
        if step % 10 == 9 or step + 1 == n_batches:
            mean_loss, accuracy = (sums[:2] / sums[2]).tolist()
            bar.set_postfix(
                loss=f"{mean_loss:.3f}", accuracy=f"{accuracy:.1%}", lr=f"{rates[0]:.1e}"
            )
            if not np.isfinite(mean_loss):
                raise RunError(
                    f"the loss of {phase.name} is no longer finite (epoch {epoch + 1}, batch {step + 1}, "
                    f"learning rate {rates[0]:g}); a larger --batch_size or other --weights may help"
                )
    everyone = processes.gathered((mean_loss, accuracy))
    mean_loss, accuracy = np.mean(everyone, axis=0)
    log.info(
        "%s  epoch %3d/%d  %3d left  loss %7.4f  train accuracy %6.2f %%  lr %.2e",
        phase.name, epoch + 1, phase.epochs, phase.epochs - epoch - 1, mean_loss, 100 * accuracy, rates[0],
    )  # fmt: skip
