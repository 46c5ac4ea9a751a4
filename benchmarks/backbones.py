"""What training and prediction cost with each backbone, at the image size it is made for.

Images per second: a step of the dense training with reduced strides and with ordinary ones, and a prediction with
reduced strides. Medians of some batches, without the first one, in a separate process for each backbone. The last
column is an epoch of all 5994 training images of CUB2011 with reduced strides, computed from its step: loading comes on
top. Time that other programs use the processor does not count.
"""

import statistics
from collections.abc import Callable, Iterator

import torch

from architectures.backbones.registry import backbone_spec
from architectures.classifier import build_dense_model
from benchmarks.measuring import in_own_process, measured
from benchmarks.stages import N_CLASSES, our_step
from benchmarks.table import markdown
from configs.hardware import Hardware
from configs.recipes import DenseRecipe
from configs.script import progress
from training.dense import dense_phase

BACKBONES = ("resnet50", "resnet34", "resnet18", "tf_efficientnet_lite0", "mobilenetv3_large_100", "convnext_tiny")
CUB_IMAGES = 5994
COLUMNS = ["backbone", "pixels", "training, images/s", "with ordinary strides", "prediction", "epoch of CUB2011"]


def tables(*, backbones: tuple = BACKBONES, images: int = 8, batches: int = 3) -> Iterator[str]:
    """Costs of every backbone.

    Args:
        backbones: their names.
        images: in a batch.
        batches: that are measured of each kind.
    """
    yield __doc__.split("\n\n", 1)[1].strip()
    rows = (in_own_process(row, name, images, batches) for name in backbones)
    yield markdown(COLUMNS, list(progress(rows, desc="Measuring", total=len(backbones))))


def row(name: str, n_images: int, batches: int) -> list[str]:
    """The row of a backbone."""
    side = backbone_spec(name).img_size
    hardware = Hardware.choose()
    images, targets = torch.rand(n_images, 3, side, side), torch.randint(N_CLASSES, (n_images,))
    model = hardware.place(build_dense_model(name, N_CLASSES)).train()
    phase = dense_phase(model, DenseRecipe())

    def train() -> None:
        our_step(model, phase, images, targets, hardware)

    @torch.inference_mode()
    def predict() -> None:
        model(hardware.to_device(images))

    fine = seconds(train, batches)
    model.backbone.reduce_strides(False)
    ordinary = seconds(train, batches)
    model.eval().backbone.reduce_strides(True)
    speeds = [f"{n_images / cost:.1f}" for cost in (fine, ordinary, seconds(predict, batches))]
    return [name, str(side), *speeds, f"{CUB_IMAGES / n_images * fine / 60:.1f} min"]


def seconds(work: Callable[[], None], times: int) -> float:
    """Median time of a piece of work, without the first run."""
    work()
    return statistics.median(measured(work).seconds for _ in range(times))
