"""ResNets that keep their feature maps: torchvision's networks and parameter names, `linear` in place of `fc`.

With reduced strides, layer3 and layer4 keep the resolution of layer2 (28 x 28 maps for 224 x 224 images), so that a
feature can be located on a part of the object (SLDD-Model, arXiv 2303.13166).
"""

from typing import NamedTuple
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, get_model_weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from architectures.checkpoints import load_state_dict
from architectures.convolution import Conv2d
from architectures.sparse_head import SparseHead
from configs.errors import RunError

BACKBONES = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
DENSE_DROPOUT = 0.2
SPARSE_DROPOUT = 0.1


class ModelOutput(NamedTuple):
    """What one forward pass returns; `n` is the number of features the head uses."""

    logits: Tensor  # [B, C]
    features: Tensor  # [B, n], what the head multiplies with its weights
    feature_maps: Tensor  # [B, n, H, W], of the same n features, >= 0


class InterpretableResNet(ResNet):
    """A ResNet with a linear head, dense at first and sparse once features are selected.

    Args:
        arch: `resnet18`, `resnet34` or `resnet50`.
        n_classes: number of classes.
        reduced_strides: stride 1 in layer3 and layer4.
    """

    def __init__(self, arch: str, n_classes: int, reduced_strides: bool = True):
        block, layers = BACKBONES[arch]
        super().__init__(block, list(layers))
        self.n_backbone_features = self.fc.in_features
        del self.fc
        self._quicken_convolutions()
        late = (*self.layer3.modules(), *self.layer4.modules())
        self._ordinary_strides = [(m, m.stride) for m in late if isinstance(m, nn.Conv2d)]
        self.reduce_strides(reduced_strides)
        self.dropout = nn.Dropout(DENSE_DROPOUT)
        self.linear = nn.Linear(self.n_backbone_features, n_classes)
        self.has_classifier = False  # whether the final layer came with the weights

    def _quicken_convolutions(self) -> None:
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Conv2d):
                    setattr(module, name, Conv2d.like(child))

    def reduce_strides(self, reduced: bool) -> None:
        """Let layer3 and layer4 keep the resolution of their input, or halve it as the ordinary ResNet does."""
        for conv, stride in self._ordinary_strides:
            conv.stride = (1, 1) if reduced else stride

    def set_sparse_head(self, head: SparseHead) -> None:
        """Replace the final layer by a sparse head."""
        self.linear = head.to(next(self.parameters()).device)
        self.dropout = nn.Dropout(SPARSE_DROPOUT)

    @property
    def class_weight(self) -> Tensor:
        """Final weights, `[C, n]`, of the dense or the sparse head."""
        return self.linear.weight

    def backbone_maps(self, images: Tensor) -> Tensor:
        """Last ReLU output: `[B, 3, S, S]` -> `[B, F, H, W]`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images: Tensor) -> ModelOutput:
        """Logits, features and feature maps of a batch of normalised images `[B, 3, S, S]`."""
        maps = self.backbone_maps(images)
        # What explains, and the losses, are computed in full precision.
        with torch.autocast(images.device.type, enabled=False):
            maps = maps.to(self.class_weight.dtype)
            pooled = self.dropout(maps.mean(dim=(2, 3)))
            if isinstance(self.linear, SparseHead):
                logits, features = self.linear(pooled)
                return ModelOutput(logits, features, maps[:, self.linear.selection])
            return ModelOutput(self.linear(pooled), pooled, maps)


def build_dense_model(
    arch: str, n_classes: int, weights: str, reduced_strides: bool = True
) -> InterpretableResNet:
    """A ResNet on the asked weights; its final layer is theirs if it is for as many classes, else a fresh one.

    Args:
        arch: `resnet18`, `resnet34` or `resnet50`.
        n_classes: number of classes.
        weights: `imagenet` (torchvision, V1 as in the papers), `none`, or a file with a state dict.
        reduced_strides: stride 1 in layer3 and layer4.

    Raises:
        RunError: if the weights cannot be downloaded, read, or belong to another architecture.
    """
    model = InterpretableResNet(arch, n_classes, reduced_strides)
    if weights == "none":
        return model
    state = _imagenet_weights(arch) if weights == "imagenet" else load_state_dict(weights)
    state = {key.replace("fc.", "linear.", 1): value for key, value in state.items()}
    own = model.state_dict()
    fits = {key for key, value in own.items() if key in state and state[key].shape == value.shape}
    optional = {key for key in own if key.endswith("num_batches_tracked")}
    wrong = [key for key in own if key not in fits | optional and not key.startswith("linear.")]
    if wrong:
        raise RunError(
            f"the weights {weights} do not fit {arch}: {wrong[0]} is missing or has another shape "
            f"({len(wrong)} such entries); give the --arch they were trained with"
        )
    model.load_state_dict({**own, **{key: state[key] for key in fits}})
    model.has_classifier = {"linear.weight", "linear.bias"} <= fits
    return model


def _imagenet_weights(arch: str) -> dict[str, Tensor]:
    try:
        return get_model_weights(arch).IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise RunError(
            f"the ImageNet weights of {arch} could not be downloaded ({error}); pass --weights none to train from "
            f"scratch, or --weights FILE with a state dict downloaded elsewhere (torch cache: {torch.hub.get_dir()})"
        ) from error
