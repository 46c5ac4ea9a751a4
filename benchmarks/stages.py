"""The costly steps against a straightforward implementation of the same.

Ratio: time of the other way over ours, so above 1 ours is faster. Each way has a process of its own. Times are
medians of runs that take turns, without the first one; slow work runs only once. Time that other programs use the
processor does not count. Peak memory: what the first run allocates besides its input. Training:
dense model, reduced strides, 200 classes, the same losses and SGD on both sides.
"""

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.cluster import MeanShift
from torch.nn.functional import cross_entropy

from architectures.classifier import build_dense_model
from benchmarks import paths, selection
from benchmarks.table import Row, comparison
from configs.hardware import Hardware
from configs.recipes import DenseRecipe
from dataset_classes.base import ImageDataset
from dataset_classes.transforms import fine_grained_train
from sparsification.mean_shift import mean_shift
from training.dense import dense_phase
from training.loop import Phase, training_step

N_CLASSES = 200  # of the training step
CHANNELS = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))  # mean and standard deviation


def step(arch: str, side: int, images: int, precision: str = "auto"):
    """A step as `training.loop` takes it and a straightforward one: the same weights, images and losses."""
    hardware = Hardware.choose(precision=precision)
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(images, 3, side, side, generator=generator)
    targets = torch.randint(N_CLASSES, (images,), generator=generator)

    def placed(place) -> tuple[torch.nn.Module, Phase]:
        torch.manual_seed(0)
        network = place(build_dense_model(arch, N_CLASSES, "none")).train()
        return network, dense_phase(network, DenseRecipe())

    ours = placed(hardware.place)
    other = placed(lambda network: network.to(hardware.device))
    return (
        lambda: our_step(*ours, batch, targets, hardware),
        lambda: straightforward_step(*other, batch, targets, hardware.device),
    )


def our_step(network, phase: Phase, images, targets, hardware: Hardware) -> torch.Tensor:
    """A training step as in `training.loop`; returns the loss."""
    hardware.keep_freed_memory()
    losses, _ = training_step(network, phase, images, targets, 0, hardware)
    return losses["loss"]


def straightforward_step(network, phase: Phase, images, targets, device) -> torch.Tensor:
    """A step in float32, channels first, with default settings; returns the loss."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False):
        images, targets = images.to(device), targets.to(device)
        output = network(images)
        extra = phase.extra_losses(output, targets, 0)
        loss = cross_entropy(output.logits, targets) + sum(extra.values())
        phase.optimizer.zero_grad()
        loss.backward()
        phase.optimizer.step()
    return loss.detach()


def epoch(images: int, width: int, height: int, side: int):
    """A pass over JPEG files, augmented: as in training, from the memory of resized images, or decoding each time."""
    folder = tempfile.TemporaryDirectory()
    paths = [Path(folder.name) / f"{index}.jpg" for index in range(images)]
    for path in paths:
        Image.effect_noise((width, height), 20).convert("RGB").save(path, quality=90)
    dataset = ImageDataset(paths, [0] * images, ["class"], root=Path(folder.name))
    dataset.transform = fine_grained_train(side, *CHANNELS, square=False)
    weakref.finalize(dataset, folder.cleanup)
    return (
        lambda: [dataset[index] for index in range(images)],
        lambda: [dataset.transform(dataset.image(index)) for index in range(images)],
    )


def clusters(features: int):
    """The clusters of numbers that b is computed from; one of its three calls."""
    values = np.random.default_rng(0).exponential(size=features)
    return lambda: mean_shift(values), lambda: MeanShift().fit_predict(values[:, None])


STEP = "Training step, {arch} at {side} px, {images} images"
SMALL = {"arch": "resnet18", "side": 64, "images": 32}
PLAIN = "float32 step, channels first"

# fmt: off
ROWS = (
    Row(STEP, step, {"arch": "resnet50", "side": 224, "images": 8}, PLAIN, rounds=3),
    Row(STEP, step, SMALL, PLAIN, rounds=7),
    Row("The same in {precision}", step, SMALL | {"precision": "bf16"}, PLAIN, rounds=5),
    Row("Loading {images} JPEG files of {width} x {height} px for training at {side} px", epoch,
        {"images": 128, "width": 400, "height": 300, "side": 224}, "decoding each time", rounds=5),
    Row("Clusters for b: {features} features", clusters, {"features": 512}, "scikit-learn's MeanShift"),
    Row("Selection, proven optimal: 12 of {features} features, {classes} classes", selection.proven,
        {"features": 64, "classes": 16, "seconds": 60}, "HiGHS", rounds=3, shows="objective {:.4f}"),
    Row("CHiQPM's selection, {instance}, and {bound_seconds} s for its upper bound", selection.certified,
        {"instance": "large_qpm_512x196", "bound_seconds": 10}, shows="gap {:.2f} %"),
    Row("Sparse path, objectives at {points} points: {images} images, {features} features, {classes} classes",
        paths.strengths, {"images": 2000, "features": 50, "classes": 50, "points": 2, "decades": 2},
        "glm-saga", shows="{:.4f}"),
)
# fmt: on


def tables() -> Iterator[str]:
    """All rows."""
    yield __doc__.split("\n\n", 1)[1].strip()
    yield comparison(ROWS)
