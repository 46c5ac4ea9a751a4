"""How large the sparse model is, and whether the backbone and the number of classes allow what was asked for."""

import logging
import math
from dataclasses import replace

from configs import recipes
from configs.errors import UsageError
from configs.settings import Settings

log = logging.getLogger(__name__)

FEW_CLASSES, N_PER_FEW_CLASSES = 25, 3  # with fewer than 25 classes, each gets 3 features


def model_size(n_classes: int, n_features: int | None, n_per_class: int | None, available: int) -> tuple[int, int]:
    """How many features a model has, and how many each of its classes, where these are not given.

    If every class shares all but one of its k features with one other, as CHiQPM asks of the most similar pairs, C
    classes have C (k + 1) / 2 different features; that many are chosen, up to the published 50. More would be left
    unused. A few classes can be told apart by fewer features each.

    Args:
        n_classes: C.
        n_features, n_per_class: as given, or None.
        available: features of the backbone.

    Returns:
        `(n_features, n_per_class)`; `check_classes` says whether given ones are possible.
    """
    k = n_per_class or (N_PER_FEW_CLASSES if n_classes < FEW_CLASSES else recipes.N_PER_CLASS)
    if n_features is None:
        n = max(k + 1, min(recipes.N_FEATURES, n_classes * (k + 1) // 2))
        while math.comb(n, k) < n_classes:
            n += 1
        return min(n, available), k
    if n_per_class is None:
        possible = range(min(k, n_features), 0, -1)
        k = next((few for few in possible if math.comb(n_features, few) >= n_classes), possible[0])
    return n_features, k


def with_model_size(settings: Settings, *, n_classes: int, available: int) -> Settings:
    """The settings with `n_features` and `n_per_class`; where they are not given, as `model_size` chooses."""
    given = settings.n_features, settings.n_per_class
    if None not in given:
        return settings
    n_features, n_per_class = model_size(n_classes, *given, available)
    log.info(
        "%d classes: the model gets %d features, each class %d of them (--n_features, --n_per_class); the published "
        "50 and 5 are for %d classes or more.", n_classes, n_features, n_per_class, FEW_CLASSES,
    )  # fmt: skip
    return replace(settings, n_features=n_features, n_per_class=n_per_class)


def check_classes(settings: Settings, n_classes: int) -> None:
    """Raise a UsageError if there are more classes than sets of features, or more pairs asked for than there are."""
    n, k, rho = settings.n_features, settings.n_per_class, settings.selection.pair_density
    n_pairs = math.comb(n_classes, 2)
    if int(rho * n_classes) > n_pairs:
        raise UsageError(
            f"--set selection.pair_density={rho:g} asks for {int(rho * n_classes)} pairs of {n_classes} classes, "
            f"which have only {n_pairs}"
        )
    if settings.kind.class_sets and math.comb(n, k) < n_classes:
        raise UsageError(
            f"{n_classes} classes cannot all differ: there are only {math.comb(n, k)} sets of "
            f"--n_per_class {k} among --n_features {n}"
        )


def check_backbone(settings: Settings, *, n_features: int, sizes: range) -> None:
    """Refuse settings that the backbone does not allow.

    Args:
        n_features: of the backbone.
        sizes: sides of the images it takes, pixels.

    Raises:
        UsageError: names the flag, the value, and what would work.
    """
    s = settings
    for name in ("n_features", "n_per_class"):
        value = getattr(s, name)
        if value is not None and value > n_features:
            raise UsageError(f"--{name} {value}: {s.arch} has only {n_features} features")
    if s.img_size in sizes:
        return
    if len(sizes) == 1:
        wanted = f"be {sizes.start}"
    elif s.img_size < sizes.start:
        wanted = f"be at least {sizes.start}"
    elif s.img_size >= sizes.stop:
        wanted = f"be at most {sizes.stop - 1}"
    else:
        wanted = f"be a multiple of {sizes.step}"
    raise UsageError(f"--img_size must {wanted} pixels for {s.arch}, not {s.img_size}")
