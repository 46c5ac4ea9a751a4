"""Recipes: what each paper trains, per model type and dataset, every number beside its meaning.

The defaults are the published ones (SLDD-Model arXiv 2303.13166, Q-SENN 2312.13839, QPM 2502.20130, CHiQPM 2511.20779):
`python main.py --dataset CUB2011 --model_type chiqpm` trains with exactly these.
Types say which values a field may have; `--set` changes any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from configs.arguments import Range

PAPER_ARCHS = ("resnet18", "resnet34", "resnet50")  # torchvision's
LOCAL_ARCHS = ("local15", "local19")  # small networks named by the receptive field of their cells, pixels
PLACES = "places"  # suffix of networks whose features look at places: NETWORK@6places
TIMM = "timm/"  # prefix of timm's networks, needed only where torchvision has a network of the same name
PACKAGE = "package:"  # prefix of weights from a Python package

Amount = Annotated[float, Range()]
Share = Annotated[float, Range(0, 1)]
Epochs = Annotated[int, Range(1)]
Count = Annotated[int, Range(1)]
Rounds = Annotated[int, Range()]
BatchSize = Annotated[int, Range(2)]  # batch normalisation needs two


@dataclass(frozen=True)
class DenseRecipe:
    """Training of the dense model: cross entropy and feature diversity loss."""

    epochs: Epochs = 150
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Amount = 0.005  # of the backbone
    classifier_lr: Amount = 0.01  # of the final layer
    momentum: Share = 0.9  # of SGD
    weight_decay: Amount = 5e-4
    # "step": lr * gamma ** (epoch // step_size); "one_cycle": warm-up, then cosine to 0
    schedule: Literal["step", "one_cycle"] = "step"
    step_size: Epochs = 30
    gamma: Amount = 0.4
    warm_up: Share = 0.15  # of a one-cycle schedule's epochs
    batch_size: BatchSize = 16
    diversity_weight: Amount = 0.196  # beta, factor of the feature diversity loss
    dropout: Share = 0.2  # of the pooled features, left out in a step
    label_smoothing: Share = 0.0
    # Share of the epochs, the first ones, with ordinary strides; they take a fourth or fifth of the time.
    coarse_share: Share = 0.0
    # Where features are maxima of maps: also show this many images at once, pairs that are easily confused, and partly
    # hidden images (training/losses.py); 1: none of these.
    mixed_images: Count = 1
    left_over_rounds: Rounds = 0  # how often looks without a feature are given one (training/left_over_looks.py)
    views: Count | None = None  # augmented views of every image, shown in turn; None: a new one in every epoch


@dataclass(frozen=True)
class FinetuneRecipe:
    """Finetuning of the sparse model, in rounds that each start with a fresh optimiser."""

    round_epochs: tuple[Epochs, ...] = (40,)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Amount = 1e-4  # at the start of the first round
    round_decay: Amount = 0.9  # round r starts at lr * round_decay ** r
    momentum: Share = 0.95  # of SGD
    weight_decay: Amount = 5e-4
    # Within a round. "step": lr * gamma ** (epoch // step_size); "cosine": to 0
    schedule: Literal["step", "cosine"] = "step"
    step_size: Epochs = 10
    gamma: Amount = 0.4
    batch_size: BatchSize = 16
    diversity_weight: Amount = 0.196  # beta, factor of the feature diversity loss
    dropout: Share = 0.1  # of the pooled features, left out in a step
    label_smoothing: Share = 0.0
    grounding_weight: Amount = 0.0  # lambda, factor of the feature grounding loss
    grounding_epochs: Epochs | None = None  # of a round, after which lambda is 0; None: never
    refit: bool = False  # fit the sparse layer again before every round but the first
    coarse_rounds: Rounds = 0  # first rounds, with ordinary strides
    # Where features lie in [0, 1] and classes are sets of them: each feature learns to be present in all images of its
    # classes and in no others.
    presence: bool = False
    last_stage: bool = False  # train only the network's last stage and what follows it, even if it was frozen before
    views: Count | None = None  # as in dense training
    # Train the features' mean and std in units of the std: plain gradients diverge where the std is small.
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
    groups: bool = True  # where local features show parts, choose one feature for every look of every part


@dataclass(frozen=True)
class GroupsRecipe:
    """Groups of alternatives among local features (`sparsification/parts/alternatives.py`).

    The selection begins with them, and dense training asks for features of the looks that they leave over. The presence
    of a feature in a class is scaled from 0, as in the classes that have least of it, to 1, as in those that have most.
    """

    # Fewest classes among which groups are sought: in fewer, looks of two parts may never meet, and seem alternatives.
    enough: Count = 28
    extremes: Count = 3  # number of lowest and of highest classes that define presence 0 and 1
    # A feature stands for a set of classes if its presence is within this of 0 or 1, on average over the classes.
    undecided: Amount = 0.12
    together: Amount = 0.12  # two features are alternatives if they share less than this part of the rarer's presence
    absent: Amount = 0.1  # a class is left over if the presences of a group's features add up to less than this
    rarest: Share = 1 / 8  # smallest share of the classes that have a look
    commonest: Share = 5 / 12  # largest one
    fewest: Count = 3  # features of a group: two may exclude each other by chance
    # Most features of a group. All sets of up to this many alternatives are tried; if every look belongs to at least an
    # eighth of the classes, there are at most eight.
    most: Annotated[int, Range(1, 9)] = 5
    left_over: Amount = 0.06  # added to the cost of a group with a look that no feature stands for
    per_look: Amount = 0.01  # added for every look: of two ways to divide the classes, fewer looks are better
    # Of sets that are left over: a feature stands for one if it differs in less than this share of the classes,
    same: Share = 0.1
    different: Share = 0.15  # two are both asked for if they differ in at least this share,
    targets: Count = 5  # and at most this many are asked for at once.
    near: Amount = 0.16  # a part is at its place if it is no farther away, as a share of the image's side
    fits: Count = 4  # of a place, each without the images in which the part was not there


@dataclass(frozen=True)
class PartsRecipe:
    """Selection among local features by parts and their looks (`sparsification/parts/`)."""

    images_per_class: Count = 40  # most images used: enough for means
    images: Count = 4000  # in all classes together, at most
    cells: Count = 16  # of a map that are kept, along a side, at most
    first: Count = 3  # most parts taken from groups of alternatives: always the two best,
    clear: Amount = 0.15  # others if their cost is below this
    shown: Share = 0.5  # value from which a feature counts as present
    rare: Share = 1 / 16  # smallest share of the images that show a sign of a part, and of the classes with a look
    # Where a further part is: the share of the differences between classes that known parts leave unexplained,
    unexplained: Share = 0.35
    explained: Share = 0.7  # and the share of this that the looks of the further part explain
    passes: Count = 2  # how often all parts are settled: knowing their looks gives better places
    rounds: Count = 4  # most rounds of a pass; in each, the classes are clustered again for every part
    starts: Annotated[int, Range(3)] = 12  # of a clustering
    clearly: Share = 0.9  # other looks replace the present ones if they leave less than this share of it unexplained
    ridge: Annotated[float, Range(1e-6)] = 0.1  # of the regression that fits the effects of looks
    # Where no parts are found: the program takes two features for one if more than this share of the activation of one
    # comes with the other in the same place.
    same_thing: Amount = 0.5


@dataclass(frozen=True)
class PlacesRecipe:
    """How the places of a network that looks at places are found (`training/places.py`)."""

    values: Count = 200_000_000  # of maps, at most, which limits the number of images; 400 MB
    starts: Count = 3  # searches, each from its own clusters; the clearest of all their places are kept
    clusters: Annotated[int, Range(2)] = 150  # of cells
    cells: Count = 60_000  # that are clustered
    landmarks: Count = 40  # other clusters, from which the position of one is predicted,
    images: Annotated[int, Range(2)] = 150  # in this many images, those in which it is clearest
    candidates: Annotated[int, Range(2)] = 30  # clusters of a start that are refined, the best predicted ones
    # Distances are shares of the image's side.
    edge: Share = 0.08  # a cluster that is usually nearer to the edge than this is background
    apart: Share = 0.06  # two places are one if they are usually nearer than this
    rounds: Count = 4  # of refinement. In each of them
    fits: Count = 4  # the prediction from the others is fitted this often, each time without the images
    near: Amount = 0.16  # in which it is farther off than this,
    pull: Amount = 0.08  # a peak is drawn towards the prediction (standard deviation),
    agree: Amount = 0.06  # and only images count in which it moves by less than this.
    clear_within: Amount = 0.125  # the second best cell is farther away than this
    ridge: Annotated[float, Range(1e-6)] = 0.01  # of the regressions


@dataclass(frozen=True)
class Regime:
    """How networks that start from the same kind of weights are trained."""

    dense: DenseRecipe
    finetuning: Mapping[str, Any]  # fields that replace those of the model type's recipe
    schedule_scale: float  # factor of the number of epochs in finetuning
    one_round: Mapping[str, Any] = field(default_factory=dict)  # more such fields, for recipes that do not refit


PUBLISHED = Regime(DenseRecipe(), {}, schedule_scale=1)

# Random weights need larger rates than the published ones: warm-up, then a cosine. Such a network has not settled as a
# pretrained one has, so finetuning takes larger steps too, and fewer, since dense training is shorter.
FROM_SCRATCH = Regime(
    DenseRecipe(
        epochs=120,
        lr=0.05,
        classifier_lr=0.05,
        schedule="one_cycle",
        batch_size=64,
        label_smoothing=0.1,
        coarse_share=0.75,
    ),
    {"lr": 4e-3, "batch_size": 64},
    schedule_scale=0.8,
)

# Pretrained networks that the papers did not train, and the user's own photos: minutes to an hour on two cores. Most
# epochs have ordinary strides: reduced ones add cells between the same ones, at three to seven times the cost.
SHORT = Regime(
    DenseRecipe(
        epochs=12,
        lr=0.01,
        classifier_lr=0.1,
        schedule="one_cycle",
        batch_size=32,
        label_smoothing=0.1,
        coarse_share=0.9,
    ),
    {"lr": 2e-3, "batch_size": 32, "coarse_rounds": 3},
    schedule_scale=0.06,
)

# With a frozen network only one layer behind it is trained, and in finetuning its last stage: they need many epochs,
# and a weight decay that keeps the few features small (measured in docs/earlier_results.md). Every image is shown in a
# few views, whose maps before the trained layers are stored, and epochs take seconds.
FROZEN_VIEWS = 12  # as many as dense epochs: features that see the same views again overfit them
FROZEN = Regime(
    replace(
        SHORT.dense,
        optimizer="adamw",
        lr=1e-3,
        classifier_lr=3e-3,
        weight_decay=1.0,
        coarse_share=0.0,
        views=FROZEN_VIEWS,
    ),
    {
        # With SGD, a decay this large kills all features where classes are many and gradients weak (StanfordCars).
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 1.0,
        "schedule": "cosine",
        "last_stage": True,
        "batch_size": 32,
        "views": FROZEN_VIEWS,
    },
    schedule_scale=1,
    one_round={"round_epochs": (40,), "dropout": 0.0, "grounding_epochs": 18},
)

N_FEATURES, N_PER_CLASS = 50, 5  # as published


@dataclass(frozen=True)
class DatasetRecipe:
    """A dataset: where it is read, and its own defaults; a flag that is given always wins."""

    source: str  # its class: `module:class` in dataset_classes
    arch: str = "resnet50"
    img_size: int = 224  # pixels
    weights: str = "imagenet"
    do_dense: bool = True  # whether the dense model is trained; else it is the pretrained one
    boxes: bool = False  # has ground-truth boxes that --cropGT can use
    own_images: bool = False  # whatever the data root holds; runs on different data roots share a folder
    regime: Regime = PUBLISHED
    local_regime: Regime | None = None  # for networks with a small receptive field; None: as for others
    # Of the sparse model; None: by the number of classes (`configs/model_size.py`).
    n_features: int | None = N_FEATURES
    n_per_class: int | None = N_PER_CLASS


DATASETS = {
    "CUB2011": DatasetRecipe("cub:CUB2011", boxes=True),
    "StanfordCars": DatasetRecipe("stanford_cars:StanfordCars"),
    "TravelingBirds": DatasetRecipe("traveling_birds:TravelingBirds", boxes=True),
    # The dense model is the pretrained one; finetuning starts where its training ended.
    "ImageNet": DatasetRecipe(
        "imagenet:ImageNet",
        do_dense=False,
        regime=Regime(DenseRecipe(batch_size=64), {"lr": 0.005 * 0.4**4, "batch_size": 64}, schedule_scale=1),
    ),
    "ImageFolder": DatasetRecipe(
        "image_folder:ImageFolder", own_images=True, regime=SHORT, n_features=None, n_per_class=None
    ),
    # Small drawings, learnt from scratch in minutes on a laptop.
    "SyntheticBirds": DatasetRecipe(
        "synthetic_birds:SyntheticBirds",
        arch="local15",
        img_size=64,
        weights="none",
        n_features=20,
        # So short a training needs all its epochs at the final resolution: with coarse maps first, CHiQPM lost 4 %.
        regime=Regime(
            replace(FROM_SCRATCH.dense, epochs=12, batch_size=32, coarse_share=0.0), {"lr": 2e-3}, schedule_scale=0.1
        ),
        local_regime=Regime(
            replace(
                FROM_SCRATCH.dense,
                epochs=20,
                optimizer="adamw",
                lr=5e-3,
                classifier_lr=5e-3,
                weight_decay=0.01,
                batch_size=32,
                dropout=0.0,
                coarse_share=0.0,
                mixed_images=3,
                left_over_rounds=5,
            ),
            {
                "optimizer": "adamw",
                "lr": 2e-3,
                "weight_decay": 0.01,
                "batch_size": 32,
                "dropout": 0.0,
                "presence": True,
            },
            schedule_scale=0.15,
        ),
    ),
}


def dense_recipe(regime: Regime, scale: float, batch_size: int | None) -> DenseRecipe:
    """The dense recipe of a run, its schedule `scale` times as long, with the given batch size if there is one."""
    recipe = regime.dense
    return replace(
        recipe,
        epochs=_scaled(recipe.epochs, scale),
        step_size=_scaled(recipe.step_size, scale),
        batch_size=batch_size or recipe.batch_size,
    )


def finetune_recipe(recipe: FinetuneRecipe, regime: Regime, scale: float, batch_size: int | None) -> FinetuneRecipe:
    """The finetuning recipe of a run, from that of its model type; other arguments as in `dense_recipe`."""
    recipe, scale = replace(recipe, **regime.finetuning), scale * regime.schedule_scale
    if not recipe.refit:
        recipe = replace(recipe, **regime.one_round)
    ends = recipe.grounding_epochs
    return replace(
        recipe,
        round_epochs=tuple(_scaled(epochs, scale) for epochs in recipe.round_epochs),
        step_size=_scaled(recipe.step_size, scale),
        grounding_epochs=None if ends is None else _scaled(ends, scale),
        batch_size=batch_size or recipe.batch_size,
    )


def regime_of(dataset: str, arch: str, weights: str, frozen: bool = False) -> Regime:
    """How a network is trained: as its dataset says, or by a regime of its own where that does not fit.

    Args:
        dataset: canonical name.
        weights: `imagenet`, `none`, `package:NAME` or a file.
    """
    own = DATASETS[dataset]
    if frozen:
        return FROZEN
    if weights == "none":
        # Features of networks trained from scratch have so small a spread that the plain gradients diverge.
        regime = own.regime if own.weights == "none" else FROM_SCRATCH
        if arch in LOCAL_ARCHS and own.local_regime is not None:
            regime = own.local_regime
        changes = {**regime.finetuning, "normalisation_in_own_units": True}
        return replace(regime, finetuning=changes)
    return own.regime if arch in PAPER_ARCHS else SHORT


def _scaled(epochs: int, scale: float) -> int:
    return max(1, round(epochs * scale))
