"""Training in several processes (`torchrun`): the same steps as in one process, each with a share of every batch."""

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from configs import processes
from configs.errors import UsageError


def data_parallel(model: nn.Module, batch_size: int) -> nn.Module:
    """The module to train: the model, or a wrapper that averages its gradients over all processes.

    Batch normalisation then sees the whole batch, so that the number of processes does not change the result.

    Args:
        model: on its device; its batch normalisation layers are replaced.
        batch_size: images per step, of all processes together.

    Raises:
        UsageError: if the batch cannot be divided equally.
    """
    if processes.count() == 1:
        return model
    if batch_size % processes.count():
        raise UsageError(
            f"a batch of {batch_size} images cannot be shared equally by {processes.count()} processes; "
            "choose another --batch_size"
        )
    device = next(model.parameters()).device
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return DistributedDataParallel(model, device_ids=[device])
    _synchronise_batch_norm(model)
    return DistributedDataParallel(model)


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient, since every process's loss depends on the sum."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        """The sum, of the shape of `values`."""
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        """The gradients of all processes' losses."""
        return SumOverProcesses.apply(gradient)


class CommonBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the images of all processes on CPUs, where PyTorch's `SyncBatchNorm` does not work.

    All processes have equal numbers of images.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The normalised maps, `[B, F, H, W]`."""
        if not self.training:
            return super().forward(x)
        n = x.numel() // x.shape[1] * processes.count()
        mean = SumOverProcesses.apply(x.sum(dim=(0, 2, 3))) / n
        centred = x - mean[:, None, None]
        variance = SumOverProcesses.apply(centred.square().sum(dim=(0, 2, 3))) / n
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale[:, None, None] + self.bias[:, None, None]


def _synchronise_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            common = CommonBatchNorm(child.num_features, child.eps, child.momentum)
            common.load_state_dict(child.state_dict())
            # Shares the parameters, which an optimiser may hold already.
            common.weight, common.bias = child.weight, child.bias
            setattr(module, name, common)
        else:
            _synchronise_batch_norm(child)
