"""One step of the dense training against the step that everybody would write first."""

from contextlib import contextmanager, nullcontext

import torch
from torch.nn.functional import cross_entropy

from architectures.resnet import build_dense_model
from configs.hardware import Hardware
from configs.recipes import DenseRecipe
from training.dense import dense_phase

N_CLASSES = 200


@contextmanager
def step(arch: str, side: int, images: int, precision: str = "auto"):
    """The step of `training.loop` and the plain one, on the same weights, images and losses."""
    hardware = Hardware.choose()
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(images, 3, side, side, generator=generator)
    targets = torch.randint(N_CLASSES, (images,), generator=generator)
    networks = []
    for place in (hardware.place, lambda network: network.to(hardware.device)):
        torch.manual_seed(0)
        networks.append(place(build_dense_model(arch, N_CLASSES, "none")).train())
    phases = [dense_phase(network, DenseRecipe()) for network in networks]
    yield (
        lambda: our_step(networks[0], phases[0], batch, targets, hardware, precision),
        lambda: plain_step(networks[1], phases[1], batch, targets, hardware.device),
    )


def our_step(network, phase, images, targets, hardware: Hardware, precision: str) -> None:
    """What the training does with a batch."""
    device = hardware.device.type
    dtype = {"auto": torch.float16 if device == "cuda" else None, "bf16": torch.bfloat16}[precision]
    images = hardware.to_device(images)
    targets = targets.to(hardware.device, non_blocking=True)
    with nullcontext() if dtype is None else torch.autocast(device, dtype):
        output = network(images)
        loss = cross_entropy(output.logits, targets) + phase.extra_loss(output, targets, 0)
    phase.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    phase.optimizer.step()


def plain_step(network, phase, images, targets, device) -> None:
    """Float32, images as they come (channels first), nothing compiled or cast."""
    images, targets = images.to(device), targets.to(device)
    output = network(images)
    loss = cross_entropy(output.logits, targets) + phase.extra_loss(output, targets, 0)
    phase.optimizer.zero_grad()
    loss.backward()
    phase.optimizer.step()
