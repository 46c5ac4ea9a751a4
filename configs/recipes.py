"""Recipes: what each paper trains, per model type and dataset, every number beside its meaning.

The defaults are the published ones (SLDD-Model arXiv 2303.13166, Q-SENN 2312.13839, QPM 2502.20130, CHiQPM 2511.20779):
`python main.py --dataset CUB2011 --model_type chiqpm` trains with exactly these.
Types say which values a field may have; `--set` changes any of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from configs.errors import UsageError

PAPER_ARCHS = ("resnet18", "resnet34", "resnet50")  # torchvision's
TIMM = "timm/"  # what the name of a network of timm may begin with, and must where torchvision has one of that name
PACKAGE = "package:"  # what the name of weights from a Python package begins with

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Range:
    """Values from `low` to below `high`."""

    low: float = 0
    high: float = math.inf

    def checked(self, value: N) -> N:
        """The value; ValueError if it lies outside."""
        if not self.low <= value < self.high:
            limit = "" if self.high == math.inf else f" and below {self.high:g}"
            raise ValueError(f"it must be at least {self.low:g}{limit}")
        return value


Amount = Annotated[float, Range()]
Share = Annotated[float, Range(0, 1)]
Epochs = Annotated[int, Range(1)]
Count = Annotated[int, Range(1)]
Rounds = Annotated[int, Range()]
BatchSize = Annotated[int, Range(2)]  # batch normalisation needs two


@dataclass(frozen=True)
class DenseRecipe:
    """Training of the dense model: cross entropy and feature diversity loss, SGD."""

    epochs: Epochs = 150
    lr: Amount = 0.005  # of the backbone
    classifier_lr: Amount = 0.01  # of the final layer
    momentum: Share = 0.9
    weight_decay: Amount = 5e-4
    # "step": lr * gamma ** (epoch // step_size); "one_cycle": warm-up, then cosine to 0
    schedule: Literal["step", "one_cycle"] = "step"
    step_size: Epochs = 30
    gamma: Amount = 0.4
    warm_up: Share = 0.15  # of a one-cycle schedule's epochs
    batch_size: BatchSize = 16
    diversity_weight: Amount = 0.196  # beta, factor of the feature diversity loss
    dropout: Share = 0.2  # of the pooled features in a step
    label_smoothing: Share = 0.0
    # Share of the epochs, the first ones, that keep the ordinary strides: they cost a fourth or fifth.
    coarse_share: Share = 0.0
    # How many images at once, beside single ones, where features are maxima of maps; 1: no mixing.
    mixed_images: Count = 1


@dataclass(frozen=True)
class FinetuneRecipe:
    """Finetuning of the sparse model, in rounds that each start with a fresh optimiser."""

    round_epochs: tuple[Epochs, ...] = (40,)
    lr: Amount = 1e-4  # at the start of the first round
    round_decay: Amount = 0.9  # round r starts at lr * round_decay ** r
    momentum: Share = 0.95
    weight_decay: Amount = 5e-4
    step_size: Epochs = 10
    gamma: Amount = 0.4
    batch_size: BatchSize = 16
    diversity_weight: Amount = 0.196  # beta, factor of the feature diversity loss
    dropout: Share = 0.1  # of the pooled features in a step
    grounding_weight: Amount = 0.0  # lambda, factor of the feature grounding loss
    grounding_epochs: Epochs | None = None  # of a round, after which lambda is 0; None: never
    refit: bool = False  # fit the sparse layer again before every round but the first
    coarse_rounds: Rounds = 0  # so many, the first ones, keep the ordinary strides
    # Mean and std, where they are trained, in units of the std instead of plain.
    normalisation_in_own_units: bool = False


@dataclass(frozen=True)
class HeadRecipe:
    """What kind of sparse head a model type has."""

    relu: bool = False  # cut off negative normalised features
    train_normalisation: bool = False  # train the features' mean and std


@dataclass(frozen=True)
class SelectionRecipe:
    """How features are chosen."""

    pair_density: Amount = 0.0  # rho: this many class pairs per class share all but one feature


# From random weights the published rates are too small: warm-up to a larger rate, then cosine.
FROM_SCRATCH = DenseRecipe(
    epochs=120,
    lr=0.05,
    classifier_lr=0.05,
    schedule="one_cycle",
    batch_size=64,
    label_smoothing=0.1,
    coarse_share=0.75,
)
# Such a network has not settled as a pretrained one has: larger steps, and fewer, in proportion to its dense training.
SCRATCH_FINETUNING: Mapping[str, Any] = {"lr": 4e-3, "batch_size": FROM_SCRATCH.batch_size}
SCRATCH_FINETUNE_SCALE = 0.8

# Pretrained networks that the papers did not train, and photos of one's own: minutes to an hour on two cores. Most of
# it goes on with ordinary strides: reduced ones show the same features in between, at three to seven times the cost.
SHORT = DenseRecipe(
    epochs=12,
    lr=0.01,
    classifier_lr=0.1,
    schedule="one_cycle",
    batch_size=32,
    label_smoothing=0.1,
    coarse_share=0.9,
)
SHORT_FINETUNING: Mapping[str, Any] = {"lr": 2e-3, "batch_size": 32, "coarse_rounds": 3}
SHORT_FINETUNE_SCALE = 0.06


@dataclass(frozen=True)
class DatasetRecipe:
    """A dataset: where it is read, and its own defaults; a flag that is given always wins."""

    source: str  # its class: `module:class` in dataset_classes
    arch: str = "resnet50"
    img_size: int = 224  # pixels
    weights: str = "imagenet"
    do_dense: bool = True  # whether the dense model is trained; else it is the pretrained one
    boxes: bool = False  # has ground-truth boxes that --cropGT can use
    dense: DenseRecipe = field(default_factory=DenseRecipe)
    finetuning: Mapping[str, Any] = field(default_factory=dict)  # what replaces fields of recipes
    schedule_scale: float = 1.0  # of the finetuning rounds


DATASETS = {
    "CUB2011": DatasetRecipe("cub:CUB2011", boxes=True),
    "StanfordCars": DatasetRecipe("stanford_cars:StanfordCars"),
    "TravelingBirds": DatasetRecipe("traveling_birds:TravelingBirds", boxes=True),
    # The dense model is the pretrained one; finetuning starts where its training ended.
    "ImageNet": DatasetRecipe(
        "imagenet:ImageNet",
        do_dense=False,
        dense=DenseRecipe(batch_size=64),
        finetuning={"lr": 0.005 * 0.4**4, "batch_size": 64},
    ),
    "ImageFolder": DatasetRecipe("image_folder:ImageFolder"),
    # Small drawings, learnt from scratch in minutes on a laptop.
    "SyntheticBirds": DatasetRecipe(
        "synthetic_birds:SyntheticBirds",
        arch="resnet18",
        img_size=64,
        weights="none",
        # So short a training needs all its epochs at the final resolution: with coarse maps first CHiQPM lost 4 %.
        dense=replace(FROM_SCRATCH, epochs=12, batch_size=32, coarse_share=0.0, mixed_images=3),
        finetuning={"lr": 2e-3},
        schedule_scale=0.1,
    ),
}


def canonical_name(name: str, choices, what: str) -> str:
    """The spelling in `choices` of a name given in any case.

    Raises:
        UsageError: if there is no such name; lists the choices.
    """
    for choice in choices:
        if choice.lower() == name.lower():
            return choice
    raise UsageError(f"unknown {what} {name!r}; choose one of {', '.join(choices)}")


def dense_recipe(
    dataset: str, arch: str, weights: str, scale: float, batch_size: int | None
) -> DenseRecipe:
    """The dense recipe for a dataset: the paper's, a steeper one from random weights, a short one for other backbones.

    Args:
        dataset: canonical name.
        arch: of the backbone.
        weights: `imagenet`, `none`, `package:NAME` or a file.
        scale: factor of the schedule's length.
        batch_size: replaces the recipe's, or None.
    """
    own = DATASETS[dataset]
    recipe = own.dense
    if _unexpectedly_random(own, weights):
        recipe = FROM_SCRATCH
    elif _is_short(dataset, arch, weights):
        recipe = SHORT
    return replace(
        recipe,
        epochs=_scaled(recipe.epochs, scale),
        step_size=_scaled(recipe.step_size, scale),
        batch_size=batch_size or recipe.batch_size,
    )


def finetune_recipe(
    recipe: FinetuneRecipe,
    dataset: str,
    arch: str,
    weights: str,
    scale: float,
    batch_size: int | None,
) -> FinetuneRecipe:
    """The finetuning recipe of a model type as a dataset asks for it; other arguments as in `dense_recipe`."""
    own = DATASETS[dataset]
    changes, factor = own.finetuning, own.schedule_scale
    if _unexpectedly_random(own, weights):
        changes, factor = SCRATCH_FINETUNING, SCRATCH_FINETUNE_SCALE
    elif _is_short(dataset, arch, weights):
        changes, factor = SHORT_FINETUNING, SHORT_FINETUNE_SCALE
    recipe, scale = replace(recipe, **changes), scale * factor
    ends = recipe.grounding_epochs
    return replace(
        recipe,
        # Features of networks trained from scratch have so small a spread that the plain gradients diverge.
        normalisation_in_own_units=weights == "none",
        round_epochs=tuple(_scaled(epochs, scale) for epochs in recipe.round_epochs),
        step_size=_scaled(recipe.step_size, scale),
        grounding_epochs=None if ends is None else _scaled(ends, scale),
        batch_size=batch_size or recipe.batch_size,
    )


def _unexpectedly_random(own: DatasetRecipe, weights: str) -> bool:
    """Whether training starts from random weights although the dataset's recipe is for pretrained ones."""
    return weights == "none" and own.weights != "none"


def _is_short(dataset: str, arch: str, weights: str) -> bool:
    """Whether training starts from a pretrained network, and no paper says for how long."""
    return weights != "none" and (dataset == "ImageFolder" or arch not in PAPER_ARCHS)


def _scaled(epochs: int, scale: float) -> int:
    return max(1, round(epochs * scale))
