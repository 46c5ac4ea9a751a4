"""The training loop: forward, loss, backward, step, log."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from architectures.backbones.frozen import trained_part
from architectures.checkpoints import save_tensors
from architectures.classifier import InterpretableClassifier, ModelOutput
from configs import processes
from configs.errors import RunError
from configs.hardware import Hardware
from configs.loading import Batches
from configs.open_run import OpenRun
from configs.recipes import DenseRecipe, FinetuneRecipe
from configs.run_folder import Artefact
from configs.script import progress
from dataset_classes.base import ImageDataset
from dataset_classes.description import model_card
from training.batches import epoch_batches, seed_everything, seed_of
from training.checkpoint import Checkpoint, checkpoint_of
from training.distributed import data_parallel
from training.frozen_maps import stored_bytes, stored_view
from training.monitor import Monitor, memory_used

log = logging.getLogger(__name__)

STEPS_PER_READING = 10  # between reads of the losses, which the device sums up
ROWS_PER_EPOCH = 20  # of metrics, at most


@dataclass
class Phase:
    """The lifetime of one optimiser: the dense training, or one finetuning round."""

    name: str
    epochs: int
    batch_size: int  # images per step, of all processes together
    optimizer: torch.optim.Optimizer  # parameter groups; their rates are set by `learning_rates`
    learning_rates: Callable[[float], list[float]]  # epochs done (a fraction within an epoch) -> rate of every group
    # Output, targets, epoch -> the terms to add to the cross entropy, by name
    extra_losses: Callable[[ModelOutput, Tensor, int], dict[str, Tensor]]
    label_smoothing: float = 0.0
    # Number of augmented views of every image, shown in turn; None: a new one in every epoch
    views: int | None = None
    # Called with the number of epochs done; may run the model and change `state`
    before_epoch: Callable[[int], None] = lambda epoch: None
    # State of the losses from earlier epochs, saved in the checkpoint
    state: dict[str, Tensor] = field(default_factory=dict)

    def set_learning_rates(self, epochs_done: float) -> list[float]:
        """Set the optimiser's present rates, and return them."""
        rates = self.learning_rates(epochs_done)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        return rates

    def view_seed(self, seed: int, epoch: int) -> int:
        """Seed of the augmentation of an epoch's images."""
        if self.views is None:
            return seed_of(seed, self.name, epoch)
        return seed_of(seed, "view", epoch % self.views)


def build_optimizer(parameters: list, recipe: DenseRecipe | FinetuneRecipe) -> torch.optim.Optimizer:
    """A fresh optimiser.

    Args:
        parameters: tensors, or groups of them.
        recipe: its kind, rate and weight decay.
    """
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


@lru_cache(maxsize=2)  # the watched images are usually the test images, and a run trains twice
def _require_readable(images: ImageDataset) -> None:
    images.require_readable()


def train_artefact(
    run: OpenRun,
    artefact: Artefact,
    model: InterpretableClassifier,
    phases: Sequence[Callable[[bool], Phase]],
    monitor: Monitor,
) -> None:
    """Train a model and save its state dict and its card as a finished file; arguments as in `train_phases`.

    Raises:
        RunError, UsageError: as `train_phases`, and before training if a watched or test image cannot be read.
    """

    def write(path: Path) -> None:
        save_tensors(model.state_dict(), path)
        model_card(run).add_to(path)

    for images in (run.data.watched, run.data.test):  # or a damaged one would end the run after hours
        _require_readable(images)
    checkpoint = checkpoint_of(artefact)
    train_phases(run, model, phases, checkpoint, monitor)
    artefact.write(write)
    checkpoint.remove()


def train_phases(
    run: OpenRun,
    model: InterpretableClassifier,
    phases: Sequence[Callable[[bool], Phase]],
    checkpoint: Checkpoint,
    monitor: Monitor,
) -> None:
    """Train a model through phases, resuming after the last finished epoch of an interrupted call.

    Args:
        run: its training images, its device, and its seed, which determines shuffling, augmentation and dropout.
        model: trained in place.
        phases: each is called when its turn comes and makes its phase, with a fresh optimiser; the argument tells
            whether the phase begins (True) or is resumed.
        checkpoint: written after every epoch; the caller removes it once the result is saved.
        monitor: measures accuracy and records the rows of metrics.

    Raises:
        RunError: if the loss is no longer finite.
        UsageError: if the images or a batch cannot be divided among several processes.
    """
    run.hardware.keep_freed_memory()
    if run.hardware.workers_share_memory:
        run.data.train.preload(run.hardware.workers)
    state = checkpoint.load() or {"phase": 0, "epoch": 0}
    monitor.history.restore(state.get("metrics", []))
    if "model" in state:
        model.load_state_dict(state["model"])
        log.info("Resuming after epoch %d of an interrupted training.", state["epoch"])
    for index in range(state["phase"], len(phases)):
        first_epoch = state["epoch"] if index == state["phase"] else 0
        phase = phases[index](first_epoch == 0)
        if first_epoch:
            phase.optimizer.load_state_dict(state["optimizer"])
            phase.state.update(state.get("state", {}))
        for epoch, rows in _epochs(run, model, phase, index, first_epoch, monitor):
            checkpoint.save(
                {
                    "phase": index,
                    "epoch": epoch + 1,
                    "model": model.state_dict(),
                    "optimizer": phase.optimizer.state_dict(),
                    "state": phase.state,
                    "metrics": [*monitor.history.rows, *rows],
                }
            )
            monitor.history.add(rows)
    monitor.history.draw()


def _epochs(
    run: OpenRun, model: InterpretableClassifier, phase: Phase, index: int, first_epoch: int, monitor: Monitor
) -> Iterator[tuple[int, list[dict]]]:
    """Train the remaining epochs of a phase; after each, yields its number, from 0, and its rows of metrics."""
    seed = run.settings.seed
    stored = stored_bytes(run, model.backbone, phase.views)
    network = data_parallel(trained_part(model) if stored.training else model, phase.batch_size)
    for epoch in range(first_epoch, phase.epochs):
        phase.before_epoch(epoch)
        epoch_seed, view = seed_of(seed, phase.name, epoch), phase.view_seed(seed, epoch)
        start = time.perf_counter()
        images = stored_view(run, model.backbone, view) if stored.training else run.data.train
        pace = partial(monitor.seconds_left, index, time.perf_counter() - start)
        seed_everything(epoch_seed, processes.rank())
        batches = epoch_batches(images, phase.batch_size, run.hardware, epoch_seed, view)
        rows = train_epoch(network, phase, batches, run.hardware, epoch, pace)
        accuracy = monitor.measure(model, phase.name, epoch + 1, stored.watched > 0)
        rows[-1]["held_out_accuracy"] = accuracy
        yield epoch, rows


def training_step(
    network: nn.Module, phase: Phase, images: Tensor, targets: Tensor, epoch: int, hardware: Hardware
) -> tuple[dict[str, Tensor], Tensor]:
    """One step of the optimiser.

    Args:
        network: in training mode; returns a `ModelOutput`.
        images, targets: as loaded, `[B, 3, S, S]` and `[B]`.
        epoch: of the phase, from 0.

    Returns:
        The loss and its terms (scalars), and which images were classified correctly, `[B]`; on the device.
    """
    images, targets = hardware.to_device(images), targets.to(hardware.device, non_blocking=True)
    with hardware.mixed_precision():
        output = network(images)
    fit = cross_entropy(output.logits, targets, label_smoothing=phase.label_smoothing)
    extra = phase.extra_losses(output, targets, epoch)
    loss = fit + sum(extra.values())
    phase.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    phase.optimizer.step()
    losses = {"loss": loss, "cross_entropy": fit, **extra}
    return {name: value.detach() for name, value in losses.items()}, output.logits.argmax(dim=1) == targets


class _Means:
    """Means over the images of an epoch: the loss, its terms, and the accuracy in training.

    They are summed on the device, since reading them every step would make a GPU wait.
    """

    def __init__(self, dtype: torch.dtype):
        self.seen, self._sums = 0, torch.zeros((), dtype=dtype)
        self._in_rows = self.seen, self._sums
        self._names: list[str] = []

    def add(self, losses: dict[str, Tensor], correct: Tensor) -> None:
        """Add a batch: its mean losses, and which of its images were classified correctly, `[B]`."""
        means = {**losses, "train_accuracy": correct.to(self._sums.dtype).mean()}
        self._names = list(means)
        stacked = torch.stack([value.to(self._sums.dtype) for value in means.values()])
        self._sums = self._sums + stacked * len(correct)
        self.seen += len(correct)

    def so_far(self) -> dict[str, float]:
        """Means over all images of the epoch so far."""
        return self._read(self.seen, self._sums)

    def since_row(self) -> dict[str, float]:
        """Means over the images since the last call."""
        seen, sums = self._in_rows
        self._in_rows = self.seen, self._sums
        return self._read(self.seen - seen, self._sums - sums)

    def _read(self, n_images: int, sums: Tensor) -> dict[str, float]:
        return dict(zip(self._names, (sums / n_images).tolist(), strict=True))


def _diverged(phase: Phase, epoch: int, step: int, rate: float) -> RunError:
    return RunError(
        f"the loss of {phase.name} is no longer finite (epoch {epoch + 1}, batch {step}, learning rate {rate:g}); "
        "a larger --batch_size or other --weights may help"
    )


def train_epoch(
    network: nn.Module,
    phase: Phase,
    loader: Batches,
    hardware: Hardware,
    epoch: int,
    seconds_left: Callable[[float, float], float],
) -> list[dict]:
    """Train for an epoch; returns its rows of metrics, the last one over the whole epoch and all processes."""
    network.train()
    n_batches, rows = len(loader), []
    steps_per_row = STEPS_PER_READING * math.ceil(n_batches / STEPS_PER_READING / ROWS_PER_EPOCH)
    means, start = _Means(hardware.sum_dtype), time.perf_counter()
    bar = progress(loader, desc=f"{phase.name} {epoch + 1}/{phase.epochs}", unit="batch")
    for step, (images, targets) in enumerate(bar, start=1):
        rates = phase.set_learning_rates(epoch + (step - 1) / n_batches)
        means.add(*training_step(network, phase, images, targets, epoch, hardware))
        is_last = step == n_batches
        if step % STEPS_PER_READING and not is_last:
            continue
        mean, seconds = means.so_far(), time.perf_counter() - start
        left = seconds_left(epoch + step / n_batches, seconds * n_batches / step)
        bar.set_postfix(
            loss=f"{mean['loss']:.3f}", accuracy=f"{mean['train_accuracy']:.1%}", lr=f"{rates[0]:.1e}",
            whole_run_left=tqdm.format_interval(left),
        )  # fmt: skip
        if not math.isfinite(mean["loss"]):
            raise _diverged(phase, epoch, step, rates[0])
        if step % steps_per_row and not is_last:
            continue
        common = {
            "phase": phase.name,
            "epoch": epoch + 1,
            "step": epoch * n_batches + step,
            **dict(zip(("lr", "classifier_lr"), rates, strict=False)),
            "images_per_second": means.seen * processes.count() / seconds,
            "memory_mb": memory_used(hardware.device),
        }
        rows.append({"kind": "step", **common, **means.since_row()})
    of_each = processes.all_gather(mean)
    everyone = {name: fmean(own[name] for own in of_each) for name in mean}
    log.info(
        "%s  epoch %3d/%d  loss %7.4f  train accuracy %6.2f %%  lr %.2e  %.4g images/s  %s of training left",
        phase.name, epoch + 1, phase.epochs, everyone["loss"], 100 * everyone["train_accuracy"], rates[0],
        common["images_per_second"], tqdm.format_interval(left),
    )  # fmt: skip
    return [*rows, {"kind": "epoch", **common, **everyone}]
