"""The settings of a run: all flags that the scripts share."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import comb
from pathlib import Path

from configs import recipes
from configs.arguments import boolean, flag, parse_flags
from configs.errors import UsageError
from configs.hardware import PRECISIONS
from configs.model_types import MODEL_TYPES, ModelType
from configs.recipes import DenseRecipe, FinetuneRecipe, HeadRecipe, SelectionRecipe
from configs.run_folder import sha256

DATA, MODEL, TRAINING, SELECTION, CALIBRATION, OUTPUT = (
    "data", "model", "training", "feature selection", "calibration", "output and machine"
)  # fmt: skip

# What every artefact of a run depends on: images and network.
BACKBONE = ("dataset", "img_size", "crop", "arch", "weights", "reduced_strides", "seed", "do_dense")


def _path(text: str) -> str:
    return str(Path(text).expanduser())


def choice(choices, what: str):
    """A parser for `flag` that accepts any case; ValueError lists the choices."""

    def parse(text: str) -> str:
        try:
            return recipes.canonical_name(text, choices, what)
        except UsageError as error:
            raise ValueError(str(error)) from None

    return parse


def _weights(text: str) -> str:
    return text.lower() if text.lower() in ("imagenet", "none") else _path(text)


def _coverage(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise ValueError(f"coverage must lie between 0 and 1 (0.9 for 90 %), not {text}")
    return value


@dataclass(frozen=True)
class Settings:
    """One run, as asked on the command line and completed by `resolve`."""

    dataset: str = flag(
        DATA, "CUB2011", "which images: " + ", ".join(recipes.DATASETS),
        parse=choice(recipes.DATASETS, "dataset"),
    )  # fmt: skip
    data_root: str | None = flag(
        DATA, None, "folder that holds the datasets (default: $CHIQPM_DATA, else ~/tmp/datasets)", parse=_path
    )  # fmt: skip
    cropGT: bool = flag(DATA, True, "crop CUB2011 and TravelingBirds to the ground-truth box")
    img_size: int | None = flag(
        DATA, None, "side of the images in pixels (default: 224; SyntheticBirds 64)", parse=int
    )

    arch: str | None = flag(
        MODEL, None, "resnet18, resnet34 or resnet50 (default: resnet50; SyntheticBirds resnet18)",
        parse=str.lower,
    )  # fmt: skip
    model_type: str = flag(
        MODEL, "chiqpm", "chiqpm, qpm, qsenn or sldd",
        parse=choice(MODEL_TYPES, "model_type"),
    )  # fmt: skip
    weights: str | None = flag(
        MODEL, None,
        "backbone to start from: imagenet, none, or a state dict file (default: imagenet; SyntheticBirds none)",
        parse=_weights,
    )  # fmt: skip
    reduced_strides: bool = flag(MODEL, True, "stride 1 in layer3 and layer4: finer feature maps")
    n_features: int = flag(MODEL, 50, "features the model may use")
    n_per_class: int = flag(MODEL, 5, "features of every class")

    seed: int | None = flag(
        TRAINING, None,
        "random seed and run folder (default: main.py goes on with an unfinished run of these settings, else draws "
        "one; the other scripts take the newest run of this dataset, architecture and model type)", parse=int,
    )  # fmt: skip
    do_dense: bool | None = flag(
        TRAINING, None,
        "train the dense model; False starts from --weights as they are (default: True; ImageNet False)",
        parse=boolean,
    )  # fmt: skip
    batch_size: int | None = flag(
        TRAINING, None, "images a step (default: the recipe's)", parse=int
    )
    schedule_scale: float = flag(
        TRAINING, 1.0, "factor of all schedules' lengths; 0.1 for a quick look"
    )

    solver: str = flag(
        SELECTION, "auto", "auto, search, gurobi or highs",
        parse=choice(("auto", "search", "gurobi", "highs"), "solver"),
    )  # fmt: skip
    selection_seconds: float = flag(SELECTION, 60.0, "time limit of the selection")
    redundancy_threshold: float | None = flag(
        SELECTION, None, "redundancy from which feature pairs are penalised (default: the smallest possible)",
        parse=float,
    )  # fmt: skip

    pairs: str = flag(
        SELECTION,
        "any",
        "chiqpm: any class pairs may share all but one feature, or the named, most similar ones must",
        parse=choice(("any", "named"), "pairs"),
    )
    certificate: float = flag(
        SELECTION, 0.0, "seconds spent on a better upper bound of the selection's objective"
    )
    glm_solver: str = flag(
        SELECTION,
        "newton",
        "for qsenn and sldd: newton, or glm_saga (the published one; pip install glm-saga)",
        parse=choice(("newton", "glm_saga"), "glm_solver"),
    )

    coverage: tuple[float, ...] = flag(
        CALIBRATION, (0.9,), "share of images whose prediction set should hold the true class",
        parse=_coverage, many=True,
    )  # fmt: skip

    log_dir: str = flag(
        OUTPUT, "~/tmp", "where run folders are made: LOG_DIR/ARCH/DATASET[_crop]/SEED", parse=_path
    )
    folder: str | None = flag(
        OUTPUT, None, "run folder to use; brings its settings, unless its model was downloaded (default: derived)",
        parse=_path,
    )  # fmt: skip
    device: str = flag(OUTPUT, "auto", "auto, cpu, cuda, cuda:1, ...")
    workers: int | None = flag(
        OUTPUT, None, "image loading processes (default: by machine)", parse=int
    )
    precision: str = flag(
        OUTPUT, "auto", "of convolutions in training: auto (bf16 on GPUs that have it), fp32 or bf16",
        parse=choice(PRECISIONS, "precision"),
    )  # fmt: skip

    @property
    def crop(self) -> bool:
        """Whether images are cropped to their box: only where the dataset has boxes."""
        return self.cropGT and recipes.DATASETS[self.dataset].boxes

    @property
    def dense(self) -> DenseRecipe:
        """Recipe of the dense training."""
        return recipes.dense_recipe(
            self.dataset, self.weights, self.schedule_scale, self.batch_size
        )

    @property
    def finetuning(self) -> FinetuneRecipe:
        """Recipe of the finetuning."""
        return recipes.finetune_recipe(
            self.kind.finetuning, self.dataset, self.weights, self.schedule_scale, self.batch_size
        )

    @property
    def head(self) -> HeadRecipe:
        """What kind of sparse head the model type has."""
        return self.kind.head

    @property
    def selection(self) -> SelectionRecipe:
        """Numbers of the choice of features."""
        return self.kind.selection

    @property
    def kind(self) -> ModelType:
        """What the model type is."""
        return MODEL_TYPES[self.model_type]

    @property
    def model_name(self) -> str:
        """Stem of the sparse model's files, e.g. `chiqpm_50_5`."""
        return f"{self.model_type}_{self.n_features}_{self.n_per_class}"

    @property
    def runs_folder(self) -> Path:
        """`LOG_DIR/ARCH/DATASET[_crop]`, which holds a folder per seed."""
        crop = "_crop" if self.crop else ""
        arch = self.arch.replace("/", "_")
        return Path(self.log_dir).expanduser() / arch / f"{self.dataset}{crop}"

    def backbone_dependencies(self) -> dict:
        """What every artefact depends on: images and network."""
        weights_file = Path(self.weights)
        content = sha256(weights_file) if weights_file.is_file() else None
        return {**{key: getattr(self, key) for key in BACKBONE}, "weights_content": content}

    def as_dict(self) -> dict:
        """All fields as plain values."""
        return asdict(self)


def parse_settings(argv: Sequence[str] | None, description: str, *more: type) -> tuple:
    """The checked settings, followed by an instance of every further dataclass of flags.

    Raises:
        UsageError: on an unknown flag, a value that does not fit, or settings that contradict each other.
    """
    settings, *others = parse_flags(argv, description, Settings, *more)
    settings = resolve(settings)
    check(settings)
    return settings, *others


def resolve(settings: Settings) -> Settings:
    """The settings with the dataset's own defaults where a flag was left out."""
    own = recipes.DATASETS[settings.dataset]
    return replace(
        settings,
        arch=settings.arch or own.arch,
        img_size=own.img_size if settings.img_size is None else settings.img_size,
        weights=settings.weights or own.weights,
        do_dense=own.do_dense if settings.do_dense is None else settings.do_dense,
        # Absolute: it is recorded, and compared with what later commands ask for.
        data_root=os.path.abspath(
            _path(settings.data_root or os.environ.get("CHIQPM_DATA") or "~/tmp/datasets")
        ),
        log_dir=_path(settings.log_dir),
    )


def check(settings: Settings) -> None:
    """Refuse what cannot work, before anything is computed.

    Raises:
        UsageError: names the flag, the value, and what would work.
    """
    s = settings
    for name in ("img_size", "n_features", "n_per_class", "batch_size"):
        value = getattr(s, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}")
    for name in ("schedule_scale", "selection_seconds"):
        if not 0 < getattr(s, name) < float("inf"):
            raise UsageError(f"--{name} must be a positive number, not {getattr(s, name)}")
    if not 0 <= s.certificate < float("inf"):
        raise UsageError(f"--certificate must be at least 0 seconds, not {s.certificate}")
    if s.workers is not None and s.workers < 0:
        raise UsageError(f"--workers must be at least 0, not {s.workers}")
    if s.seed is not None and not 0 <= s.seed < 2**32:
        raise UsageError(f"--seed must lie between 0 and 4294967295, not {s.seed}")
    if s.n_per_class > s.n_features:
        raise UsageError(
            f"--n_per_class {s.n_per_class} is more than --n_features {s.n_features}; "
            f"a class can have at most {s.n_features} features"
        )
    if s.batch_size == 1:
        raise UsageError("--batch_size 1 cannot be used with batch normalisation; use 2 or more")
    if not s.do_dense and s.weights == "none":
        raise UsageError(
            "--do_dense False needs a trained backbone: give --weights imagenet or a file"
        )


def check_backbone(settings: Settings, *, n_features: int, min_size: int) -> None:
    """Refuse what the backbone does not have.

    Args:
        settings: the run's.
        n_features: how many features it has.
        min_size: side of the smallest images it takes, pixels.

    Raises:
        UsageError: names the flag, the value, and what would work.
    """
    s = settings
    if s.n_features > n_features:
        raise UsageError(f"--n_features {s.n_features}: {s.arch} has only {n_features} features")
    if s.img_size < min_size:
        raise UsageError(
            f"--img_size must be at least {min_size} pixels for {s.arch}, not {s.img_size}"
        )


def check_classes(settings: Settings, n_classes: int) -> None:
    """Refuse more classes than there are sets of features.

    Raises:
        UsageError: names the numbers.
    """
    n, k = settings.n_features, settings.n_per_class
    if settings.kind.class_sets and comb(n, k) < n_classes:
        raise UsageError(
            f"{n_classes} classes cannot all differ: there are only {comb(n, k)} sets of "
            f"--n_per_class {k} among --n_features {n}"
        )
