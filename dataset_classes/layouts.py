"""What folders of images mean, a split or classes: guesses are logged, and ambiguous layouts are refused."""

import logging
import os
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from configs.errors import RunError
from configs.script import warn_once
from dataset_classes.base import NEEDS_NO_DOWNLOAD
from dataset_classes.content_split import TEST_SHARE, ClassImages, split_by_content
from dataset_classes.folders import (
    PACKED,
    Skipped,
    class_folders,
    ending_of,
    find_images,
    is_image,
    is_leftover,
    listed,
    scan_classes,
)
from dataset_classes.image_list import ImageList

log = logging.getLogger(__name__)

# Names of the folders of a split, in lower case.
TRAIN, TEST, VALIDATION = "train", "test", "validation"
ROLES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("test", "testing"), TEST),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), VALIDATION),
}
UNDERSTOOD = "train or training, test or testing, val, valid, validation, dev, eval or evaluation"
# A word of a folder's name that makes it look like one of a split.
SPLIT_WORD = re.compile(r"(?:^|[\W_\d])(train|test|val|valid|eval|dev)(?:ing|idation|uation|set|data|$|[\W_\d])", re.I)
# Names of folders that hold pictures of all classes, or their masks and labels.
NO_CLASS = re.compile(
    r"(jpeg|png|rgb)?[ _-]?(images?|imgs?|pictures|photos)|masks?|labels?|annotations?|trimaps?|gt|ground[ _-]?truth|"
    r"segmentation\w*",
    re.I,
)


@dataclass(frozen=True)
class Place:
    """A folder directly below the data root."""

    name: str
    path: str
    loose: int  # images directly in it
    below: tuple[str, ...]  # its sub-folders that have images, at any depth

    @property
    def role(self) -> str | None:
        """The role in a split of a folder of this name."""
        return ROLES.get(self.name.strip().casefold())

    @property
    def holds_classes(self) -> bool:
        """Whether it looks like a part of a split: images in sub-folders only."""
        return bool(self.below) and not self.loose


def find_splits(root: Path, known: ImageList | None = None) -> tuple[ClassImages, ClassImages]:
    """Training and test images by class name, from two folders or by splitting one.

    What is skipped or guessed is logged in one line.

    Args:
        known: the list of an earlier split of a single folder, which is kept.

    Raises:
        RunError: if these are not folders of class folders, can be read in two ways, or do not fit together.
    """
    if not root.is_dir():
        is_file = "it is packed: unpack it" if ending_of(root.name) in PACKED else "it is a file"
        found = is_file if root.exists() else "it does not exist"
        raise RunError(f"--data_root {root} must be a folder of class folders, but {found}; {NEEDS_NO_DOWNLOAD}.")
    skipped = Skipped()
    parts = split_folders(root)
    if TEST not in parts:
        folder = Path(parts.get(TRAIN, root))
        classes = used_classes(folder, skipped)
        refuse_outer_folder(classes, folder)
        refuse_splits_inside(classes, folder)
        log_skipped(skipped)
        warn_once(
            log,
            f"{folder} is not split into training and test images: about {100 * TEST_SHARE:.0f} % of the images, "
            "chosen by their content, are kept for testing.",
        )
        return split_by_content(classes, root, known)
    train_folder, test_folder = Path(parts[TRAIN]), Path(parts[TEST])
    train, test = used_classes(train_folder, skipped), used_classes(test_folder, skipped)
    log_skipped(skipped)
    unknown = sorted(set(test) - set(train))
    if unknown:
        alike = [name for name in train if same_name(name) == same_name(unknown[0])]
        raise RunError(
            f"Class '{unknown[0]}' has images in {test_folder} but none in {train_folder}"
            + (f", which has '{alike[0]}'." if alike else f" ({len(unknown)} class(es) so).")
        )
    return train, test


def log_skipped(skipped: Skipped) -> None:
    """Log what was skipped."""
    if skipped.line():
        warn_once(log, skipped.line())


def same_name(name: str) -> str:
    """A common spelling of names that differ only in case, blanks or Unicode form."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in plain if not c.isspace() and unicodedata.category(c) not in ("Cf", "Cc"))


def split_folders(root: Path) -> dict[str, str]:
    """Folders of training and test images, none if `root` holds the classes itself; RunError if it may be both."""
    places = [look_into(name, path) for name, path in class_folders(root, Skipped()).items()]
    places = [place for place in places if place.loose or place.below or place.role]
    named: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        named[place.role].append(place)
    others = named.pop(None, [])
    if not named:
        refuse_unknown_split(root, others)
        return {}
    roles = [place for several in named.values() for place in several]
    if others and not any(place.holds_classes for place in roles):
        warn_once(log, f"{_names(roles)} in {root}: taken as classes, since images lie directly in it.")
        return {}
    train = named.get(TRAIN, [])
    test = named.get(TEST, []) or named.get(VALIDATION, [])
    if len(train) > 1 or len(test) > 1:
        several = _names(train if len(train) > 1 else test)
        raise RunError(f"{root} has several folders of one meaning: {several}; leave one of them.")
    if others and not (train and test and same_classes(train[0], test[0])):
        raise RunError(
            f"{root} can be read in two ways: {_names(roles)} as the images of a split, or as classes like "
            f"{_names(others)} beside it. For a split, put nothing else beside train/ and test/; for classes, put all "
            f"of them into {root / 'train'}."
        )
    if not train:
        raise RunError(f"{root} has a folder {roles[0].name}/ but no train/ beside it.")
    unused = others + [place for place in roles if place not in train + test]
    if unused:
        used = f"training on {train[0].name}/ and testing on {test[0].name}/"
        warn_once(log, f"{root}: {used}; {_names(unused)} is not used.")
    return {part: places[0].path for part, places in ((TRAIN, train), (TEST, test)) if places}


def look_into(name: str, path: str) -> Place:
    """A folder below the data root, with what is needed to tell its meaning."""
    unsaid = Skipped()  # reported when the images are read
    images = find_images(path, unsaid)
    inside = [os.path.relpath(image, path).split(os.sep) for image in images]
    loose = sum(len(parts) == 1 for parts in inside)
    return Place(name, path, loose, tuple(sorted({p[0] for p in inside if len(p) > 1})))


def same_classes(first: Place, second: Place) -> bool:
    """Whether two folders have sub-folders of the same names."""
    return bool(set(first.below) & set(second.below))


def refuse_unknown_split(root: Path, places: list[Place]) -> None:
    """Raise a RunError if folders look like a split under names that are not understood."""
    found = {word[1].lower(): p for p in places if (word := SPLIT_WORD.search(p.name))}
    parts = list(found.values())
    alone = all(SPLIT_WORD.search(place.name) for place in places)
    if "train" in found and len(found) > 1 and (alone or same_classes(parts[0], parts[1])):
        raise RunError(
            f"{root} can be read in two ways: {_names(parts)} look like a split, but only {UNDERSTOOD} are understood. "
            f"Rename them, or put them into {root / 'train'} if they are classes."
        )
    if len(places) in (2, 3) and all(place.holds_classes and place.below == places[0].below for place in places):
        warn_once(
            log,
            f"{root}: {_names(places)} hold folders of the same names ({_some(places[0].below)}) and are taken as "
            f"classes; a split has the names {UNDERSTOOD}.",
        )


def refuse_outer_folder(classes: ClassImages, folder: Path) -> None:
    """Raise a RunError if the folders of the classes, or of a split, lie one level deeper."""
    name, *others = classes
    place = look_into(name, str(folder / name))
    if not others and place.holds_classes and len(place.below) > 1:
        raise RunError(
            f"{folder} has only the class '{name}', whose images lie in {_some(place.below)}: if these are the classes "
            f"or the split, give --data_root {folder / name}"
        )


def refuse_masks(classes: ClassImages, folder: Path) -> None:
    """Raise a RunError if these are not classes but pictures and their masks or labels."""
    if len(classes) > 1 and all(NO_CLASS.fullmatch(name) for name in classes):
        names = ", ".join(f"{name}/" for name in classes)
        raise RunError(
            f"{folder} holds {names}, which look like pictures and their masks or labels, not like classes: put the "
            "pictures of every class into a folder of its name."
        )


def refuse_splits_inside(classes: ClassImages, folder: Path) -> None:
    """Raise a RunError if every class has a split of its own inside."""
    for name, images in classes.items():
        inside = {os.path.relpath(image, folder / name).split(os.sep)[0] for image in images}
        roles = {ROLES.get(part.casefold()) for part in inside}
        if not {TRAIN} < roles & set(ROLES.values()):
            return
    raise RunError(
        f"{folder} can be read in two ways: every class has a split inside of it, as {next(iter(classes))}/train/. For "
        f"this split, turn the folders round: train/{next(iter(classes))}/; otherwise rename the folders inside."
    )


def _some(names: tuple[str, ...]) -> str:
    """The first names, ant, bee, cat, ..."""
    return ", ".join([*names[:3], *(["..."] if names[3:] else [])])


def _names(places: list[Place]) -> str:
    return ", ".join(f"{place.name}/" for place in places)


def used_classes(folder: Path, skipped: Skipped) -> ClassImages:
    """The classes below `folder` that have images; without any, a RunError says what is there instead."""
    classes = scan_classes(folder, skipped)
    for name in [name for name, images in classes.items() if not images]:
        warn_once(log, f"{folder / name} has no images that can be read and is left out.")
        del classes[name]
    files = [name for name in os.listdir(folder) if not is_leftover(name) and (folder / name).is_file()]
    loose = sum(map(is_image, files))
    skipped.endings.update(ending for ending in map(ending_of, files) if ending in PACKED)
    if classes:
        if loose:
            warn_once(log, f"{folder}: {loose} image(s) in no class folder are left out.")
        refuse_masks(classes, folder)
        log_deeper(classes, folder)
        return classes
    if loose:
        raise RunError(f"{folder} holds {loose} images but no class folders; put the images of each class in a folder.")
    raise RunError(
        f"No images under {folder}: expected {folder}/CLASS/IMAGE, or train/ and test/ with such folders. "
        f"{skipped.line()}".strip()
    )


def log_deeper(classes: ClassImages, folder: Path) -> None:
    """Log how many images lie in sub-folders of their class: these may be masks, or classes of their own."""
    places = Counter(os.path.dirname(image) for images in classes.values() for image in images)
    names = {os.path.relpath(place, folder): count for place, count in places.items()}
    deeper = Counter({name: count for name, count in names.items() if os.sep in name})
    if deeper:
        warn_once(
            log,
            f"{folder}: {deeper.total()} image(s) in sub-folders count as images of the class above them "
            f"({listed(deeper)}).",
        )
