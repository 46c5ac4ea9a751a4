"""timm's networks by their names there: any convolutional one, and vision transformers as maps of their patches.

What has to be known of a network (size, features, where its strides are) comes from a pass on the meta device, which
needs no weights and takes a fraction of a second.

A ReLU behind the network makes maps >= 0. It changes nothing where the network ends in ReLU, and little after SiLU,
GELU and hard-swish, whose lowest values are -0.28, -0.17 and -0.38. A network that ends in a sum or a normalisation
(ConvNeXt, transformers) keeps the positive part of each feature, and learns what to put there. Adding a constant
instead would make every feature present everywhere; splitting each in two would tie features to their opposites.
"""

import logging
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import timm
import torch
from timm.layers import Conv2dSame, create_pool2d, to_2tuple
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import Tensor, nn

from architectures.backbones.base import Backbone, BackboneSpec
from configs.errors import UsageError, reason
from configs.recipes import PAPER_ARCHS, TIMM

log = logging.getLogger(__name__)

# Side of the largest cells with reduced strides, pixels, as in the papers' ResNets (28 x 28 cells of 224 pixels).
FINE_CELL = 8
PADDED_AS_NEEDED = (Conv2dSame, MaxPool2dSame, AvgPool2dSame)  # as in TensorFlow: more behind than before
SMALLEST_STAGE = 0.1  # share of a network's weights that makes its last stage worth training alone
# torch warns that a kernel of 2 x 2 pixels costs a copy of its input.
warnings.filterwarnings("ignore", "Using padding='same' with even kernel")


@dataclass(frozen=True)
class Layout:
    """What a pass on the meta device reveals about a network."""

    spec: BackboneSpec
    options: dict  # arguments that timm builds it with
    idle: tuple[str, ...]  # children that take no part in the maps, such as a classifier's layers
    # Convolutions and poolings whose input has cells of `FINE_CELL` pixels or more, by name, and how many times
    # `FINE_CELL` that is: what reduced strides change
    late: dict[str, int]
    finer: int  # along a side, how many cells of the maps with reduced strides make up an ordinary one
    first: int  # which of these cells, along a side, has the value of the first ordinary one
    classifier: str | None  # name of timm's classifier if its input is just the average of the maps
    last_stage: str | None  # timm's name of the last stage; None for vision transformers
    early: tuple[str, ...]  # names of the modules that are done before it


class _Reached(Exception):
    """The last stage is about to begin."""


class TimmBackbone(Backbone):
    """A network of timm up to its last maps.

    With reduced strides, strides become 1 where a cell has `FINE_CELL` pixels already, and the filters behind them are
    dilated (arXiv 1511.07122), so that pretrained ones see what they are used to: every second or fourth cell of the
    finer maps is a cell of the ordinary ones. The cells between are those of the ordinary network for the image shifted
    by a few pixels, and share no activation with their neighbours, so such maps are uneven. Where padding differs
    between the two sides, they are also shifted against the ordinary ones, by 12 pixels in networks from TensorFlow. So
    every cell is spread over the cells that make up an ordinary one, where that one lies (`spread`).

    Args:
        network: as timm builds it with `layout.options`.
        layout: of this network.
    """

    def __init__(self, network: Any, layout: Layout):
        super().__init__()
        self.n_features = layout.spec.n_features
        self.layout = layout
        self.network = network
        self._reduced = False
        for child in layout.idle:
            setattr(network, child, nn.Identity())
        self._strides: dict[str, tuple] = {}  # name of a convolution: (its ordinary attributes, its fine ones)
        self._pools: dict[str, tuple] = {}  # name: (ordinary, fine)
        for key, times in layout.late.items():
            module: Any = network.get_submodule(key)
            if isinstance(module, nn.Conv2d):
                self._strides[key] = _strides(module, times)
            else:
                self._pools[key] = (module, _fine_pool(module))

    def reduce_strides(self, reduced: bool) -> None:
        """Let cells be no larger than `FINE_CELL` pixels, or as large as the network is made for."""
        if reduced and not self.layout.late:
            log.info("%s has no strides that can be reduced.", self.layout.spec.name)
        self._reduced = reduced and bool(self.layout.late)
        for key, attributes in self._strides.items():
            vars(self.network.get_submodule(key)).update(attributes[self._is_fine(key)])
        for key, pools in self._pools.items():
            self.network.set_submodule(key, pools[self._is_fine(key)])

    def _is_fine(self, key: str) -> bool:
        """Whether a late module has its reduced stride now."""
        return self._reduced

    def maps(self, images: Tensor) -> Tensor:
        """The last maps: of convolutions after their activation, of transformers after the last normalisation."""
        return network_maps(self.network, images)

    def _features(self, maps: Tensor, wanted: Tensor | None) -> Tensor:
        maps = super()._features(maps, wanted)
        return spread(maps, self.layout.finer, self.layout.first) if self._reduced else maps

    def train_last_stage(self) -> bool:
        """Train timm's last stage and what follows it, if they need nothing but the maps before them.

        A stage with less than `SMALLEST_STAGE` of the weights is not trained alone either.
        """
        early = [self.network.get_submodule(key) for key in self.layout.early]
        if self.layout.last_stage is None or not self._is_worth_it(early) or not self._stands_alone():
            return False
        self._freeze_modules(early)
        return True

    def _is_worth_it(self, early: Iterable[nn.Module]) -> bool:
        """Whether the modules behind the early ones have enough of the weights."""
        parameters = set(self.network.parameters())
        late = parameters.difference(*(module.parameters() for module in early))
        return sum(p.numel() for p in late) >= SMALLEST_STAGE * sum(p.numel() for p in parameters)

    @torch.no_grad()
    def _stands_alone(self) -> bool:
        """Whether the last stage and what follows it need nothing but the maps before them."""
        side = self.layout.spec.min_size
        image = torch.linspace(-1, 1, 3 * side**2).view(1, 3, side, side).to(next(self.parameters()))
        was_training = self.training
        self.eval()
        whole = self.maps(image)
        try:
            parts = self._after_last_stage(self._before_last_stage(image))
            return torch.allclose(parts, whole, rtol=1e-3, atol=1e-5)
        except Exception:  # timm's networks raise whatever they like where a stage needs more than the maps before it
            return False
        finally:
            self.train(was_training)

    def _before_last_stage(self, images: Tensor) -> Tensor:
        given = []

        def stop(stage, inputs):
            given.append(inputs[0])
            raise _Reached

        with self._at_last_stage(stop), suppress(_Reached):
            network_maps(self.network, images)
        return given[0]

    def _after_last_stage(self, maps: Tensor) -> Tensor:
        side = self.layout.spec.min_size
        with self._at_last_stage(lambda stage, inputs: (maps,)):  # in place of the maps of a small blank image
            return network_maps(self.network, maps.new_zeros(1, 3, side, side))

    @contextmanager
    def _at_last_stage(self, hook) -> Iterator[None]:
        handle = self.network.get_submodule(self.layout.last_stage).register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()


@cache
def names() -> Iterable[str]:
    """timm's networks, also with the name of a training: `resnet50.a1_in1k`."""
    known = (*timm.list_models(), *timm.list_pretrained())
    return {TIMM + name if name in PAPER_ARCHS else name: None for name in known}.keys()


def spec(name: str) -> BackboneSpec:
    """What is known of a network; errors as in `layout_of`."""
    return layout_of(name).spec


def build(name: str) -> Backbone:
    """A network with random weights; errors as in `layout_of`."""
    layout = layout_of(name)
    return TimmBackbone(timm_network(name, **layout.options), layout)


def timm_network(name: str, **options) -> Any:
    """A network as timm builds it, by its name with or without `timm/`; `options` are those of `timm.create_model`."""
    return timm.create_model(name.removeprefix(TIMM), **options)


@cache
def layout_of(name: str) -> Layout:
    """What passes on the meta device reveal about a network; UsageError, which says why, if it makes no maps."""
    try:
        with torch.device("meta"):
            return _look_at(name)
    except Exception as error:  # timm's networks raise whatever they like
        raise UsageError(f"timm's {name.removeprefix(TIMM)} cannot be used: {reason(error)}") from None


def _look_at(name: str) -> Layout:
    options: dict[str, Any] = {"num_classes": 0}
    network = timm_network(name, **options)
    patches = _has_patches(network)
    if patches:
        options["dynamic_img_size"] = True  # other sizes than in pretraining
        network = timm_network(name, **options)
    config = network.eval().pretrained_cfg
    channels, _, side = config["input_size"]
    if channels != 3:
        raise ValueError(f"it takes images of {channels} channel(s), not of 3")
    maps, sides = _observed(network, side)
    if maps.ndim != 4 or maps.shape[1] != network.num_features:
        raise ValueError(f"it makes {list(maps.shape[1:])} of an image, and no maps of features")
    cell = math.ceil(side / maps.shape[-1])
    fixed = config.get("fixed_input_size", False) and not patches
    idle = _idle_children(network, sides)
    ends_in_average = not idle and not patches and isinstance(config.get("classifier"), str)
    late = {} if patches or fixed else _late_strides(network, side, sides)
    finer, first = ordinary_cells(network, late)
    layout = Layout(
        spec=BackboneSpec(
            name,
            n_features=network.num_features,
            img_size=side,
            min_size=side if fixed else _smallest(network, cell, side),
            max_size=side if fixed else None,
            size_step=cell if patches else 1,
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config["interpolation"],
        ),
        options=options,
        idle=idle,
        late=late,
        finer=finer,
        first=first,
        classifier=config["classifier"] if ends_in_average else None,
        **_last_stage(network, sides, patches),
    )
    if late and _becomes_finer(network, layout):
        return replace(layout, spec=replace(layout.spec, has_strides=True))
    return replace(layout, late={}, finer=1, first=0)


def _has_patches(network: nn.Module) -> bool:
    """Whether maps have to be assembled from the tokens of patches."""
    return hasattr(network, "num_prefix_tokens")


def network_maps(network: Any, images: Tensor) -> Tensor:
    """The last maps of a network of timm; otherwise as `TimmBackbone.maps`."""
    if _has_patches(network):
        (maps,) = network.forward_intermediates(images, 1, norm=True, output_fmt="NCHW", intermediates_only=True)
        return maps
    maps = network.forward_features(images)
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
    return maps.permute(0, 3, 1, 2) if channels_last else maps


def _observed(network: nn.Module, side: int) -> tuple[Tensor, dict[str, tuple[int, int]]]:
    """The maps of an image, and for every module that took part the sides of its input and output (0: no maps)."""
    sides: dict[str, tuple[int, int]] = {}

    def observe(key: str):
        def note(module: nn.Module, inputs: tuple, output) -> None:
            before, after = (
                x.shape[-1] if isinstance(x, Tensor) and x.ndim == 4 else 0
                for x in (inputs[0] if inputs else None, output)
            )
            sides[key] = before, after

        return note

    handles = [m.register_forward_hook(observe(key)) for key, m in network.named_modules()]
    maps = network_maps(network, torch.empty(1, 3, side, side))
    for handle in handles:
        handle.remove()
    return maps, sides


def _idle_children(network: nn.Module, sides: dict) -> tuple[str, ...]:
    """Children with parameters that took no part."""
    return tuple(
        key
        for key, child in network.named_children()
        if next(child.parameters(), None) is not None and not any(f"{used}.".startswith(f"{key}.") for used in sides)
    )


def _last_stage(network: Any, sides: dict, patches: bool) -> dict[str, Any]:
    """`Layout.last_stage` and `Layout.early`."""
    done = list(sides)  # in the order in which they ran
    info = getattr(network, "feature_info", None)
    stage = None if patches or not info else list(info)[-1]["module"]
    first = next((i for i, key in enumerate(done) if f"{key}.".startswith(f"{stage}.")), None)
    if first is None:
        return {"last_stage": None, "early": ()}
    return {"last_stage": stage, "early": tuple(done[:first])}


def _smallest(network: nn.Module, cell: int, side: int) -> int:
    """Side of the smallest images that yield a map: usually one cell."""
    for size in range(cell, side, cell):
        try:
            network_maps(network, torch.empty(1, 3, size, size))
        except RuntimeError:  # unpadded filters need more
            continue
        return size
    return side


def _late_strides(network: nn.Module, side: int, sides: dict) -> dict[str, int]:
    """`Layout.late` of a network that subsamples by convolutions and poolings."""
    late = {}
    for key, module in network.named_modules():
        before, after = sides.get(key, (0, 0))
        if not before or not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            continue
        times = 2 ** round(math.log2(side / before)) // FINE_CELL
        spread = isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1
        if (times >= 1 and after < before) or (times > 1 and spread):
            late[key] = times
    return late


def ordinary_cells(network: nn.Module, late: dict[str, int]) -> tuple[int, int]:
    """`Layout.finer` and `Layout.first`, which depends on the padding of the strided filters.

    Where several branches of a block subsample the same cells, the largest filter counts.
    """
    moved: dict[int, tuple[int, int]] = {}
    for key, times in late.items():
        module: Any = network.get_submodule(key)
        size, stride, padding = (to_2tuple(getattr(module, name))[0] for name in ("kernel_size", "stride", "padding"))
        if stride > 1:
            before = max(size - stride, 0) // 2 if isinstance(module, PADDED_AS_NEEDED) else padding
            moved[times] = max(moved.get(times, (0, 0)), (size, times * (size - 1) // 2 - times * before))
    return 2 ** len(moved), sum(cells for _, cells in moved.values())


def _becomes_finer(network: nn.Module, layout: Layout) -> bool:
    """Whether reducing the strides does give maps with cells of `FINE_CELL` pixels."""
    backbone = TimmBackbone(network, layout)
    side = layout.spec.img_size
    try:
        backbone.reduce_strides(True)
        return backbone.maps(torch.empty(1, 3, side, side)).shape[-1] >= side // FINE_CELL - 1
    except RuntimeError:  # it subsamples by other means as well, and sizes no longer fit
        return False


def spread(maps: Tensor, finer: int, first: int) -> Tensor:
    """Maps with reduced strides, each cell spread evenly over the cells that make up an ordinary one.

    Cell i of the ordinary maps is cell `first + finer * i` of these; it is spread over the cells from `finer * i` to
    `finer * i + finer - 1`, which lie where the ordinary cell does. The sum of a map stays the same.

    Args:
        maps: `[B, F, H, W]`.
        finer, first: see `Layout`.
    """
    rows, columns = (_shares(cells, finer, first, maps.device).to(maps.dtype) for cells in maps.shape[-2:])
    return rows @ maps @ columns.T


def _shares(cells: int, finer: int, first: int, device: torch.device) -> Tensor:
    """The share of every cell (column) that each cell (row) receives, `[cells, cells]`."""
    places = torch.arange(cells, device=device)
    to, start = places[:, None], places - first
    reached = (to >= start) & (to < start + finer)
    return reached / reached.sum(dim=0)


def _strides(convolution: nn.Conv2d, times: int) -> tuple[dict, dict]:
    """Attributes of a late convolution: the ordinary ones, and the fine ones."""
    ordinary = {key: getattr(convolution, key) for key in ("stride", "padding", "dilation")}
    fine = ordinary | {"stride": (1, 1), "dilation": tuple(times * d for d in convolution.dilation)}
    if max(convolution.stride) > 1:
        fine["padding"] = "same"
    elif isinstance(convolution.padding, tuple):
        fine["padding"] = tuple(times * p for p in convolution.padding)
    return ordinary, fine


def _fine_pool(pool: nn.MaxPool2d | nn.AvgPool2d) -> nn.Module:
    """A pooling with stride 1 in place of a late one."""
    kind = "max" if isinstance(pool, nn.MaxPool2d) else "avg"
    return create_pool2d(kind, pool.kernel_size, stride=1, padding="same")
