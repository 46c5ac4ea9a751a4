"""The settings of a run: all flags that the scripts share."""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from configs import recipes
from configs.arguments import Range, boolean, choice, flag, number, parse_flags, within
from configs.errors import UsageError
from configs.files import sha256
from configs.hardware import PRECISIONS
from configs.model_types import MODEL_TYPES, ModelType
from configs.overrides import overridden, override
from configs.paths import expanded, expanded_default

DATA, MODEL, TRAINING, SELECTION, CALIBRATION, OUTPUT = (
    "data", "model", "training", "feature selection", "calibration", "output and machine"
)  # fmt: skip

# What every artefact of a run depends on: images and network.
BACKBONE = ("dataset", "img_size", "crop", "arch", "weights", "freeze_backbone", "reduced_strides", "seed", "do_dense")

DATA_ROOT = "~/tmp/datasets"
SEEDS = range(2**32)


def _arch(text: str) -> str:
    """The one spelling of a backbone: `timm/` only where torchvision's has the same name."""
    bare = text.lower().removeprefix(recipes.TIMM)
    if not bare:
        raise ValueError(f"{text!r} names no backbone")
    return text.lower() if bare.partition("@")[0] in recipes.PAPER_ARCHS else bare


def _weights(text: str) -> str:
    is_name = text.lower() in ("imagenet", "none") or text.lower().startswith(recipes.PACKAGE)
    return text.lower() if is_name else os.path.abspath(expanded(text))  # as later commands will look for it


def _redundancy_threshold(text: str) -> float | str:
    if text.lower() == "published":
        return "published"
    with suppress(ValueError):
        if math.isfinite(value := number(float, text)):
            return value
    raise ValueError(f"a redundancy or the word published, not {text!r}")


@dataclass(frozen=True)
class Settings:
    """One run, as given on the command line and completed by `resolve`."""

    dataset: str = flag(
        DATA, "CUB2011", "which images: " + ", ".join(recipes.DATASETS), parse=choice(recipes.DATASETS, "dataset")
    )
    data_root: str | None = flag(
        DATA, None, "folder that holds the datasets (default: $CHIQPM_DATA, else ~/tmp/datasets)", parse=expanded
    )
    cropGT: bool = flag(DATA, True, "crop CUB2011 and TravelingBirds to the ground-truth box")
    img_size: int | None = flag(
        DATA, None, "side of the images in pixels (default: 224; SyntheticBirds 64)", parse=within(int, Range(1))
    )

    arch: str | None = flag(
        MODEL, None,
        "backbone: resnet18, resnet34, resnet50, or any timm network by its name; local15 or local19, small networks "
        "in which a cell of the maps sees a square of 23 or 27 pixels; NAME@4, @8 or @16, a timm network cut off "
        "before cells get larger than that many pixels, so that each sees a bounded square; NAME@4places, @6places, "
        "@8places, @10places or @12places, a timm network whose features look at that many places of the object "
        "(default: resnet50; SyntheticBirds local15)", parse=_arch,
    )  # fmt: skip
    model_type: str = flag(MODEL, "chiqpm", "one of " + ", ".join(MODEL_TYPES), parse=choice(MODEL_TYPES, "model_type"))
    weights: str | None = flag(
        MODEL, None,
        "weights to start from: imagenet (downloaded), none, package:efficientnet-lite0 (installed by pip), or a file "
        "with a state dict (default: imagenet; SyntheticBirds none)", parse=_weights,
    )  # fmt: skip
    freeze_backbone: bool = flag(
        MODEL, False, "freeze the backbone; train a 1 x 1 convolution behind it, and finetune its last stage"
    )
    reduced_strides: bool = flag(
        MODEL, True, "finer feature maps: stride 1 in late stages, such as layer3 and layer4 of a ResNet"
    )
    n_features: int | None = flag(
        MODEL, None,
        "features the model uses (default: 50; SyntheticBirds 20; ImageFolder with fewer than 25 classes 2 per class)",
        parse=within(int, Range(1)),
    )  # fmt: skip
    n_per_class: int | None = flag(
        MODEL, None, "features of every class (default: 5; ImageFolder with fewer than 25 classes 3)",
        parse=within(int, Range(1)),
    )  # fmt: skip

    seed: int | None = flag(
        TRAINING, None,
        "random seed and run folder (default: main.py resumes an unfinished run of these settings, else draws "
        "one; the other scripts take the newest run of this dataset, architecture and model type)",
        parse=within(int, Range(0, SEEDS.stop)),
    )  # fmt: skip
    do_dense: bool | None = flag(
        TRAINING, None,
        "train the dense model; False: use --weights as they are (default: True; ImageNet False)",
        parse=boolean,
    )  # fmt: skip
    batch_size: int | None = flag(
        TRAINING, None, "images per step, at least 2 (default: the recipe's)", parse=within(int, Range(2))
    )
    balanced: bool = flag(TRAINING, False, "show all classes equally often in training, however many images they have")
    schedule_scale: float = flag(
        TRAINING, 1.0, "factor for the length of all schedules; 0.1 for a quick look",
        parse=within(float, Range(above=True)),
    )  # fmt: skip
    validation: float = flag(
        TRAINING, 0.0,
        "share of every class's training images that is held out for --eval_every",
    )  # fmt: skip
    eval_every: int = flag(
        TRAINING, 5, "epochs between measurements of the accuracy on test (or held-out) images; 0: no measurements",
        parse=within(int, Range()),
    )  # fmt: skip
    set: tuple[str, ...] = flag(
        TRAINING, (),
        "change fields of the recipes in configs/recipes.py: --set dense.lr=0.01 --set finetune.round_epochs=5,5,20",
        parse=override, many=True, repeated=True, metavar="RECIPE.FIELD=VALUE",
    )  # fmt: skip

    solver: str = flag(
        SELECTION, "auto", "of the quadratic program: auto, search, gurobi or highs",
        parse=choice(("auto", "search", "gurobi", "highs"), "solver"),
    )  # fmt: skip
    selection_seconds: float = flag(
        SELECTION, 60.0, "time limit of the selection, seconds of computing time: a busy machine takes longer",
        parse=within(float, Range(above=True)),
    )  # fmt: skip
    redundancy_threshold: float | str | None = flag(
        SELECTION, None,
        "redundancy from which feature pairs are penalised, or published, for the published grid and clique search "
        "(default: the smallest that our search finds, which is below the published one)",
        parse=_redundancy_threshold,
    )  # fmt: skip
    pairs: str = flag(
        SELECTION, "named",
        "for chiqpm, which class pairs must share all but one feature: named, the most similar ones (as published), or "
        "any pairs, as many of them",
        parse=choice(("named", "any"), "pairs"),
    )  # fmt: skip
    certificate: float = flag(
        SELECTION, 20.0,
        "most seconds spent after the selection on an upper bound on the objective, which tells how far the selection "
        "can be from the optimum (the gap)", parse=within(float, Range()),
    )  # fmt: skip
    glm_solver: str = flag(
        SELECTION,
        "newton",
        "for qsenn and sldd: newton, or glm_saga (the published one)",
        parse=choice(("newton", "glm_saga"), "glm_solver"),
    )

    coverage: tuple[float, ...] = flag(
        CALIBRATION, (0.9,), "share of images whose prediction set should hold the true class",
        parse=within(float, Range(0, 1, above=True)), many=True,
    )  # fmt: skip

    log_dir: str = flag(OUTPUT, "~/tmp", "where run folders are made: LOG_DIR/ARCH/DATASET[_crop]/SEED", parse=expanded)
    folder: str | None = flag(
        OUTPUT, None,
        "run folder to use, in place of the one under --log_dir; scripts take its model's settings (main.py only its "
        "seed), unless the model was downloaded", parse=expanded,
    )  # fmt: skip
    track: str | None = flag(
        OUTPUT, None, "also log the training to tensorboard or wandb (offline); pip installs either",
        parse=choice(("tensorboard", "wandb"), "tracker"),
    )  # fmt: skip
    device: str = flag(OUTPUT, "auto", "auto, cpu, cuda, cuda:1, mps, ...", parse=str.lower)
    workers: int | None = flag(
        OUTPUT, None, "processes that load images (default: depends on the machine)", parse=within(int, Range())
    )
    precision: str = flag(
        OUTPUT, "auto", "of convolutions in training: auto (bf16 on GPUs that support it), fp32 or bf16",
        parse=choice(PRECISIONS, "precision"),
    )  # fmt: skip

    @property
    def crop(self) -> bool:
        """Whether images are cropped to their box: only if the dataset has boxes."""
        return self.cropGT and recipes.DATASETS[self.dataset].boxes

    @property
    def local(self) -> bool:
        """Whether features are maxima of maps of small receptive field, among which there are parts and their looks."""
        return self.arch in recipes.LOCAL_ARCHS

    @property
    def regime(self) -> recipes.Regime:
        """How the network is trained."""
        return recipes.regime_of(self.dataset, self.arch, self.weights, self.freeze_backbone)

    @property
    def dense(self) -> recipes.DenseRecipe:
        """Recipe of the dense training."""
        recipe = recipes.dense_recipe(self.regime, self.schedule_scale, self.batch_size)
        return overridden(recipe, "dense", self.set)

    @property
    def finetuning(self) -> recipes.FinetuneRecipe:
        """Recipe of the finetuning."""
        recipe = recipes.finetune_recipe(self.kind.finetuning, self.regime, self.schedule_scale, self.batch_size)
        return overridden(recipe, "finetune", self.set)

    @property
    def head(self) -> recipes.HeadRecipe:
        """What kind of sparse head the model type has."""
        return overridden(self.kind.head, "head", self.set)

    @property
    def selection(self) -> recipes.SelectionRecipe:
        """Numbers of the choice of features."""
        return overridden(self.kind.selection, "selection", self.set)

    @property
    def groups(self) -> recipes.GroupsRecipe:
        """How groups of alternatives are found among local features."""
        return overridden(recipes.GroupsRecipe(), "groups", self.set)

    @property
    def parts(self) -> recipes.PartsRecipe:
        """How parts are found among local features."""
        return overridden(recipes.PartsRecipe(), "parts", self.set)

    @property
    def placed(self) -> bool:
        """Whether features look at places, which are found before training."""
        return self.arch.endswith(recipes.PLACES)

    @property
    def places(self) -> recipes.PlacesRecipe:
        """How places are found."""
        return overridden(recipes.PlacesRecipe(), "places", self.set)

    @property
    def kind(self) -> ModelType:
        """What the model type is."""
        return MODEL_TYPES[self.model_type]

    def recipes(self) -> dict:
        """All recipes as built-in values, by the names that `--set` knows."""
        return {
            "dense": vars(self.dense) if self.do_dense else None,
            "selection": vars(self.selection),
            "groups": vars(self.groups) if self.local else None,
            "parts": vars(self.parts) if self.local else None,
            "places": vars(self.places) if self.placed else None,
            "head": vars(self.head),
            "finetune": vars(self.finetuning),
        }

    @property
    def model_name(self) -> str:
        """Stem of the sparse model's files, e.g. `chiqpm_50_5`; `*` for a number that depends on the classes."""
        return f"{self.model_type}_{self.n_features or '*'}_{self.n_per_class or '*'}"

    @property
    def runs_folder(self) -> Path:
        """`LOG_DIR/ARCH/DATASET[_crop]`, which holds a folder per seed; UsageError if the user has no home folder."""
        crop = "_crop" if self.crop else ""
        if self.log_dir.startswith("~"):
            raise UsageError("there is no home folder for run folders here: give --log_dir or --folder")
        return Path(self.log_dir) / self.arch.replace("/", "_") / f"{self.dataset}{crop}"

    def backbone_dependencies(self) -> dict:
        """What every artefact depends on: images and network."""
        weights_file = Path(self.weights)
        content = sha256(weights_file) if weights_file.is_file() else None
        chosen = {key: getattr(self, key) for key in BACKBONE}
        if self.balanced:  # else as in runs that were made before there was a choice
            chosen["balanced"] = True
        return {**chosen, "weights_content": content}

    def dense_dependencies(self) -> dict:
        """What the dense model depends on beside its images."""
        depends_on = {**self.backbone_dependencies(), "dense": self.recipes()["dense"]}
        if self.local and self.do_dense and self.dense.left_over_rounds:
            depends_on["alternatives"] = vars(self.groups)
        if self.placed:
            depends_on["places"] = vars(self.places)
        return depends_on

    def sparse_dependencies(self) -> dict:
        """What the finetuned model depends on beside its images and the selection."""
        return {**self.dense_dependencies(), "finetuning": vars(self.finetuning), "head": vars(self.head)}

    def selection_dependencies(self) -> dict:
        """What the choice of features depends on beside the features."""
        keys = (
            "model_type", "n_features", "n_per_class", "solver", "selection_seconds", "redundancy_threshold", "pairs",
            "certificate", "glm_solver",
        )  # fmt: skip
        depends_on = {**{key: getattr(self, key) for key in keys}, **vars(self.selection)}
        if self.local and self.kind.class_sets:
            # "groups" is a number of the selection itself: whether there are any.
            depends_on |= {"alternatives": vars(self.groups), "parts": vars(self.parts)}
        return depends_on

    def as_dict(self) -> dict:
        """All fields as JSON stores them: tuples are lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def parse_settings(argv: Sequence[str] | None, description: str, *more: type) -> tuple:
    """The checked settings, and an instance of every further dataclass of flags; UsageError where they do not fit."""
    settings, *others = parse_flags(argv, description, Settings, *more)
    return completed(settings), *others


def completed(settings: Settings) -> Settings:
    """The settings with their dataset's defaults, checked; errors as in `check`."""
    settings = resolve(settings)
    check(settings)
    return settings


def resolve(settings: Settings) -> Settings:
    """The settings with the dataset's own defaults for flags that were left out."""
    defaults = vars(recipes.DATASETS[settings.dataset])
    left_out = {k: defaults[k] for k, v in vars(settings).items() if v is None and k in defaults}
    return replace(
        settings,
        **left_out,
        # Absolute: it is recorded, and compared with what later commands ask for.
        data_root=_data_root(settings.data_root),
        log_dir=expanded_default(settings.log_dir),
    )


def _data_root(given: str | None) -> str:
    try:
        path = expanded(given or os.environ.get("CHIQPM_DATA") or DATA_ROOT)
    except ValueError as error:
        if given is None and "CHIQPM_DATA" not in os.environ:
            return DATA_ROOT  # without a home; it may not be needed
        raise UsageError(f"{'CHIQPM_DATA' if given is None else '--data_root'}: {error}") from None
    return os.path.abspath(path)


def check(settings: Settings) -> None:
    """Refuse what cannot work before anything is computed; the UsageError names flag, value and what would work."""
    s = settings
    if s.n_features is not None and s.n_per_class is not None and s.n_per_class > s.n_features:
        raise UsageError(
            f"--n_per_class {s.n_per_class} is more than --n_features {s.n_features}; "
            f"a class can have at most {s.n_features} features"
        )
    if not 0 <= s.validation <= 0.5:
        raise UsageError(f"--validation must lie between 0 and 0.5, not {s.validation}")
    _check_overrides(s)
    if s.finetuning.refit and s.kind.class_sets:
        raise UsageError(f"--set finetune.refit=True: {s.model_type} chooses its features once; use qsenn or sldd")
    for asked, given in (("do_dense False", not s.do_dense), ("freeze_backbone", s.freeze_backbone)):
        if given and s.weights == "none":
            raise UsageError(f"--{asked} needs a trained backbone: give --weights imagenet or a file")


def _check_overrides(s: Settings) -> None:
    """Raise a UsageError if what `--set` says contradicts itself or `--batch_size`."""
    values: dict[str, str] = {}
    for text in s.set:
        name, _, value = text.partition("=")
        if values.setdefault(name, value) != value:
            raise UsageError(f"--set {name} is given twice: {values[name]} and {value}")
        if name.endswith(".batch_size") and s.batch_size not in (None, int(value)):
            raise UsageError(f"--batch_size {s.batch_size} contradicts --set {text}; leave one out")
