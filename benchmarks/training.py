"""One step of the dense training against the step that everybody would write first."""

from contextlib import contextmanager

import torch
from torch.nn.functional import cross_entropy

from architectures.classifier import build_dense_model
from configs.hardware import Hardware
from configs.recipes import DenseRecipe
from training.dense import dense_phase
from training.loop import Phase, training_step

N_CLASSES = 200


@contextmanager
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
    yield (
        lambda: our_step(*ours, batch, targets, hardware),
        lambda: straightforward_step(*other, batch, targets, hardware.device),
    )


def our_step(network, phase: Phase, images, targets, hardware: Hardware) -> torch.Tensor:
    """What the training does with a batch, as `training.loop` does it; returns the loss."""
    hardware.keep_freed_memory()
    images, targets = hardware.to_device(images), targets.to(hardware.device, non_blocking=True)
    losses, _ = training_step(network, phase, images, targets, 0, hardware)
    return losses["loss"]


def straightforward_step(
    network, phase: Phase, images, targets, device: torch.device
) -> torch.Tensor:
    """Float32, images as they come (channels first), default settings; returns the loss."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False):
        images, targets = images.to(device), targets.to(device)
        output = network(images)
        loss = cross_entropy(output.logits, targets) + sum(
            phase.extra_losses(output, targets, 0).values()
        )
        phase.optimizer.zero_grad()
        loss.backward()
        phase.optimizer.step()
    return loss.detach()
