"""Convolutions as fast as matrix products, for training on a CPU.

With maps that stay large at many channels, 3 x 3 convolutions take most of a training step. Winograd's F(4x4, 3x3)
needs a quarter of their multiplications: it transforms tiles of the maps and the filters, multiplies, and transforms
back (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308, section 4.3). A 1 x 1
convolution of channels-last maps is one matrix product. PyTorch's CPU library always sums directly; its GPU library
chooses among such algorithms itself. `python -m benchmarks` compares training steps.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

TILE = 4  # pixels of the output along the side of a tile
PATCH = TILE + 2  # pixels of the input along the side of the patch that a tile depends on
FEWEST_CHANNELS = 128  # with fewer, the transforms cost more than they save
FEWEST_TILES = 32  # with fewer, transforming the filters costs more
# PyTorch's arguments that make up the shape of a convolution.
SHAPE = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")

Matrix = Sequence[Sequence[float]]
# The transforms of one dimension, for the points 0, 1, -1, 2, -2: tile = A^T [(G filter) * (B^T patch)].
_A_T: Matrix = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
_B_T: Matrix = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_G: Matrix = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]


def _two_dimensional(rows: Matrix) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(matrix, matrix)


TILE_TRANSFORM = _two_dimensional(_A_T)  # [16, 36]
PATCH_TRANSFORM = _two_dimensional(_B_T)  # [36, 36]
FILTER_TRANSFORM = _two_dimensional(_G)  # [36, 9]


class Conv2d(nn.Conv2d):
    """A drop-in for PyTorch's, faster when training on a CPU with channels-last maps of many channels.

    Evaluation, and shapes that gain nothing, use the library's convolution. The ResNets use this class. timm's networks
    keep their own: their stride, padding and dilation change after they are built, in `Backbone.reduce_strides`, and
    most of their 3 x 3 convolutions have groups. A training step of ResNet-18 takes 0.93 s with it and 1.23 s without
    (32 images of 64 pixels, one thread of a busy Xeon, medians of 6, taken in turn).

    Raises:
        ValueError: for a bias, groups, dilation, or padding other than with zeros.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        if self.bias is not None or self.groups > 1 or self.dilation != (1, 1):
            raise ValueError("a fast convolution has no bias, no groups and no dilation")
        if self.padding_mode != "zeros":
            raise ValueError(f"a fast convolution pads with zeros, not by {self.padding_mode!r}")

    @classmethod
    def like(cls, conv: nn.Conv2d) -> "Conv2d":
        """A convolution of the same shape that shares the weights of another."""
        shape: Any = {name: getattr(conv, name) for name in SHAPE}
        own = cls(**shape, bias=conv.bias is not None, device="meta")
        own.weight = conv.weight
        return own

    def forward(self, maps: Tensor) -> Tensor:
        """`[B, C, H, W]` -> `[B, K, H', W']`."""
        if self._is_trained_on_cpu(maps):
            if (self.kernel_size, self.stride, self.padding) == ((1, 1), (1, 1), (0, 0)):
                return pointwise_convolution(maps, self.weight)
            if self._gains_from_tiles(maps):
                return WinogradConvolution.apply(maps, self.weight)
        return super().forward(maps)

    def _is_trained_on_cpu(self, maps: Tensor) -> bool:
        return (
            self.training
            and torch.is_grad_enabled()
            and maps.device.type == "cpu"
            and maps.dtype in (torch.float32, torch.float64)
            and not torch.is_autocast_enabled("cpu")
            and maps.is_contiguous(memory_format=torch.channels_last)
        )

    def _gains_from_tiles(self, maps: Tensor) -> bool:
        if (self.kernel_size, self.stride, self.padding) != ((3, 3), (1, 1), (1, 1)):
            return False
        images, _, height, width = maps.shape
        n_tiles = images * _tiles(height) * _tiles(width)
        return (
            min(self.in_channels, self.out_channels) >= FEWEST_CHANNELS
            and n_tiles >= FEWEST_TILES
            and 2 * images * height * width >= n_tiles * TILE**2  # tiles at least half full
        )


def pointwise_convolution(maps: Tensor, weight: Tensor) -> Tensor:
    """A 1 x 1 convolution of channels-last maps: `[B, C, H, W]` and `[K, C, 1, 1]` -> `[B, K, H, W]`."""
    return (maps.permute(0, 2, 3, 1) @ weight.flatten(1).t()).permute(0, 3, 1, 2)


class WinogradConvolution(torch.autograd.Function):
    """A 3 x 3 convolution with stride 1 and padding 1: `[B, C, H, W]` and `[K, C, 3, 3]` -> `[B, K, H, W]`.

    In single precision the error is about 1e-5 of the largest output. Maps are channels-last.
    """

    @staticmethod
    def forward(ctx, maps: Tensor, weight: Tensor) -> Tensor:
        """Transform, multiply, transform back."""
        patches = _transformed_patches(maps)
        filters = _transformed_filters(weight)
        ctx.save_for_backward(patches, filters)
        ctx.shape = maps.shape
        return _joined_tiles(torch.bmm(patches, filters), maps.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The steps of `forward` transposed, the last one first."""
        patches, filters = ctx.saved_tensors
        tiles = _joined_tiles_transposed(gradient)
        by_filters = torch.bmm(patches.transpose(1, 2), tiles)
        by_patches = torch.bmm(tiles, filters.transpose(1, 2))
        return (_transformed_patches_transposed(by_patches, ctx.shape), _transformed_filters_transposed(by_filters))


def _tiles(side: int) -> int:
    """How many tiles cover this many pixels."""
    return -(-side // TILE)


def _transform(matrix: Tensor, stack: Tensor) -> Tensor:
    """Combine along the first dimension: `[p, q]` and `[q, M, N]` -> `[p, M, N]`."""
    return (matrix.to(stack.dtype) @ stack.flatten(1)).view(-1, *stack.shape[1:])


def _transformed_filters(weight: Tensor) -> Tensor:
    """`[K, C, 3, 3]` -> `[36, C, K]`."""
    return _transform(FILTER_TRANSFORM, weight.permute(2, 3, 1, 0).flatten(0, 1))


def _transformed_filters_transposed(filters: Tensor) -> Tensor:
    """`[36, C, K]` -> `[K, C, 3, 3]`."""
    return _transform(FILTER_TRANSFORM.t(), filters).unflatten(0, (3, 3)).permute(3, 2, 0, 1)


def _transformed_patches(maps: Tensor) -> Tensor:
    """`[B, C, H, W]` -> `[36, tiles, C]`: the patch that each tile depends on; neighbours overlap by two pixels."""
    _, n_channels, height, width = maps.shape
    padded = pad(maps.permute(0, 2, 3, 1), (0, 0, 1, -width % TILE + 1, 1, -height % TILE + 1))
    patches = padded.unfold(1, PATCH, TILE).unfold(2, PATCH, TILE).permute(4, 5, 0, 1, 2, 3)
    return _transform(PATCH_TRANSFORM, patches.reshape(PATCH**2, -1, n_channels))


def _transformed_patches_transposed(patches: Tensor, shape: torch.Size) -> Tensor:
    """`[36, tiles, C]` -> `[B, C, H, W]`: patches are added up where they overlap."""
    n_images, n_channels, height, width = shape
    rows, columns = _tiles(height), _tiles(width)
    patches = _transform(PATCH_TRANSFORM.t(), patches)
    patches = patches.view(PATCH, PATCH, n_images, rows, columns, n_channels)
    blocks = patches.new_zeros(n_images, rows + 1, TILE, columns + 1, TILE, n_channels)
    # A patch covers its tile's block, and two rows and columns of the next blocks.
    for down, patch_rows in enumerate(patches.split(TILE, dim=0)):
        for across, part in enumerate(patch_rows.split(TILE, dim=1)):
            into = blocks[:, down : down + rows, : part.shape[0], across : across + columns]
            into[..., : part.shape[1], :] += part.permute(2, 3, 0, 4, 1, 5)
    padded = blocks.flatten(1, 2).flatten(2, 3)
    return padded[:, 1 : height + 1, 1 : width + 1].permute(0, 3, 1, 2)


def _joined_tiles(tiles: Tensor, shape: torch.Size) -> Tensor:
    """`[36, tiles, K]` -> `[B, K, H, W]`."""
    n_images, _, height, width = shape
    tiles = _transform(TILE_TRANSFORM, tiles)
    tiles = tiles.view(TILE, TILE, n_images, _tiles(height), _tiles(width), -1)
    maps = tiles.permute(2, 3, 0, 4, 1, 5).flatten(1, 2).flatten(2, 3)[:, :height, :width]
    return maps.contiguous().permute(0, 3, 1, 2)


def _joined_tiles_transposed(maps: Tensor) -> Tensor:
    """`[B, K, H, W]` -> `[36, tiles, K]`."""
    _, n_channels, height, width = maps.shape
    rows, columns = _tiles(height), _tiles(width)
    padded = pad(maps.permute(0, 2, 3, 1), (0, 0, 0, -width % TILE, 0, -height % TILE))
    tiles = padded.unflatten(2, (columns, TILE)).unflatten(1, (rows, TILE)).permute(2, 4, 0, 1, 3, 5)
    return _transform(TILE_TRANSFORM.t(), tiles.reshape(TILE**2, -1, n_channels))
