"""Which classes are compared, and in which order their features appear."""

import difflib
import re
import unicodedata
from collections.abc import Sequence, Set

import numpy as np

from architectures.activations import strongest_first
from configs.errors import UsageError
from visualization.class_grid import ColumnGroup

MAX_COLUMNS = 10  # features in one figure: more could neither be told apart by colour nor be read


def find_class(text: str, class_names: Sequence[str]) -> int:
    """Index of the class that a user gives by index or name (exact, or without regard to case, blanks, `_` and `-`).

    If names are numbers, indices are not accepted, as they could be mistaken for names.

    Raises:
        UsageError: if there is no such class; names the nearest one.
    """
    if text in class_names:
        return class_names.index(text)
    plain = [_plain(name) for name in class_names]
    if plain.count(_plain(text)) > 1:
        alike = [name for name, p in zip(class_names, plain, strict=True) if p == _plain(text)]
        raise UsageError(f"{text!r} may be any of {', '.join(map(repr, alike))}; write one of them exactly so")
    if _plain(text) in plain:
        return plain.index(_plain(text))
    numbered = any(map(str.isdecimal, class_names))
    if text.lstrip("-").isdecimal() and not numbered:
        if 0 <= int(text) < len(class_names):
            return int(text)
        raise UsageError(f"there is no class {text}; the classes are 0 to {len(class_names) - 1}")
    close = difflib.get_close_matches(_plain(text), plain, n=1, cutoff=0.4)
    hint = f"did you mean {class_names[plain.index(close[0])]!r}? " if close else ""
    index = "" if numbered else f" or an index from 0 to {len(class_names) - 1}"
    raise UsageError(f"there is no class {text!r}; {hint}give a name{index}")


def comparison_columns(weight: np.ndarray, classes: Sequence[int]) -> list[int]:
    """Features of the classes, first those that only the first class has, last those that only the last class has.

    If the classes have more than fit into a figure, those with the smallest weights are left out.
    """
    weight = np.abs(np.asarray(weight)[list(classes)])  # (classes, n)
    features = np.flatnonzero(weight.any(axis=0))
    strongest = np.argsort(-weight[:, features].max(axis=0), kind="stable")[:MAX_COLUMNS]
    features = np.sort(features[strongest])
    centre = [np.flatnonzero(weight[:, f]).mean() for f in features]
    return features[np.argsort(centre, kind="stable")].tolist()


def column_groups(
    weight: np.ndarray, classes: Sequence[int], columns: Sequence[int], names: Sequence[str]
) -> list[ColumnGroup]:
    """The columns of a class pair in groups: only the first, both, only the second; else none."""
    if len(classes) != 2:
        return []
    first, second = np.asarray(weight)[list(classes)] != 0
    first_name, second_name = _differing_ends(*(names[c] for c in classes))
    membership = (
        (f"only {first_name}", first & ~second),
        ("shared", first & second),
        (f"only {second_name}", ~first & second),
    )
    groups = [ColumnGroup(name, tuple(f for f in columns if of[f])) for name, of in membership]
    return [group for group in groups if group.features]


def local_columns(
    features: np.ndarray, weight: np.ndarray, classes: Sequence[int]
) -> tuple[list[int], list[ColumnGroup]]:
    """Features of the first class in the order of the hierarchy, then other features of the other classes.

    Args:
        features: of the image, `[n]`.
        weight: `[C, n]`.
        classes: the predicted class and those it is compared with.
    """
    own = np.flatnonzero(weight[classes[0]])
    own = own[strongest_first(features[own]).numpy()].tolist()
    others = [f for f in comparison_columns(weight, classes) if f not in own]
    groups = [ColumnGroup("predicted class", tuple(own)), ColumnGroup("other classes", tuple(others))]
    return own + others, [group for group in groups if group.features]


def nearest_classes(logits: np.ndarray, weight: np.ndarray, prediction_set: Set[int], count: int) -> list[int]:
    """The predicted class, then up to `count` similar classes.

    Those of the prediction set come first, then by number of shared features, then by logit. Classes that would need
    too many columns are skipped.
    """
    predicted = int(np.argmax(logits))
    assigned = np.asarray(weight) != 0
    shared = (assigned & assigned[predicted]).sum(axis=1)

    def closeness(c: int):
        return (c in prediction_set, int(shared[c]), float(logits[c]))

    chosen = [predicted]
    for c in sorted(range(len(logits)), key=closeness, reverse=True):
        columns = assigned[[*chosen, c]].any(axis=0).sum()
        if c != predicted and len(chosen) <= count and columns <= MAX_COLUMNS:
            chosen.append(c)
    return chosen


def _differing_ends(first: str, second: str) -> tuple[str, str]:
    """Two names without their common first words: a caption has room only for the beginning of a long name."""
    names = first.split(), second.split()
    while min(map(len, names)) > 1 and names[0][0] == names[1][0]:
        for words in names:
            words.pop(0)
    return " ".join(names[0]), " ".join(names[1])


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name)).strip().lower()
