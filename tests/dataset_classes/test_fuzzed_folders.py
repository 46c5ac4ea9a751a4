"""Folders of images changed at random: the classes and counts are those of an oracle, or one line says what is wrong.

Every change knows what is right: which images each class has afterwards, and whether a refusal is in order.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from fake_datasets import load, random_image

from configs.errors import RunError
from dataset_classes.check import check_dataset
from dataset_classes.image_folder import ImageFolder

CLASSES = ("ant", "bee", "cat")
ROUNDS = 80  # of 3 changes each
LEFTOVERS = (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash-1000", "#recycle")
ENDINGS = (".JPG", ".Png", ".TIFF", ".bmp", ".jfif", ".webp")
OTHERS = ("notes.txt", "a.heic", "b.raw", "labels.csv", "without_ending", "c.jpg.part")


@dataclass
class Folder:
    """A folder of images, and what is right about it."""

    root: Path  # the data root
    rng: np.random.Generator  # what chance draws from
    is_split: bool  # whether it has a training and a test folder
    images: dict[Path, tuple[str, str]] = field(default_factory=dict)  # `(split or "", class)` by file
    doubtful: bool = False  # whether a refusal is right

    def pick(self) -> Path:
        """A random image."""
        return sorted(self.images)[self.rng.integers(len(self.images))]


def new_folder(root: Path, seed: int) -> Folder:
    folder = Folder(root, np.random.default_rng(seed), is_split=bool(seed % 2))
    for split in ("train", "test") if folder.is_split else ("",):
        for name in CLASSES:
            for i in range(4):
                path = root / split / name / f"{i}.png"
                random_image(path, folder.rng)
                folder.images[path] = split, name
    return folder


def moved(folder: Folder, source: Path, target: Path) -> None:
    """Move an image, or a folder of images."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    folder.images = {
        (target / p.relative_to(source) if p.is_relative_to(source) else p): about for p, about in folder.images.items()
    }


def leftover(folder: Folder) -> None:
    place = folder.pick().parent / str(folder.rng.choice(LEFTOVERS)) / "deep"
    random_image(place / "copy.png", folder.rng)


def other_file(folder: Folder) -> None:
    (folder.pick().parent / str(folder.rng.choice(OTHERS))).write_bytes(b"\0\1\2")


def other_format(folder: Folder) -> None:
    path = folder.pick()
    new = path.with_name(path.stem + "_" + str(folder.rng.choice(ENDINGS)))
    random_image(new, folder.rng)
    path.unlink()
    folder.images[new] = folder.images.pop(path)


def deeper(folder: Folder) -> None:
    path = folder.pick()
    moved(folder, path, path.parent / "2024" / "May 1" / path.name)


def renamed(folder: Folder) -> None:
    path = folder.pick()
    moved(folder, path, path.with_name(f"ö $ % {folder.rng.integers(10**6)}{path.suffix}"))


def one_more(folder: Folder) -> None:
    path = folder.pick()
    new = path.with_name(f"more{folder.rng.integers(10**6)}.png")
    random_image(new, folder.rng)
    folder.images[new] = folder.images[path]


def a_copy(folder: Folder) -> None:
    path = folder.pick()
    new = path.with_name(f"copy{folder.rng.integers(10**6)}{path.suffix}")
    shutil.copy(path, new)
    folder.images[new] = folder.images[path]


def loop(folder: Folder) -> None:
    link = folder.pick().parent / f"loop{folder.rng.integers(10**6)}"
    link.symlink_to(folder.rng.choice([str(folder.root), str(link.parent), link.name]))


def pipe(folder: Folder) -> None:
    os.mkfifo(folder.pick().parent / f"pipe{folder.rng.integers(10**6)}.png")


def empty_class(folder: Folder) -> None:
    (folder.root / ("train" if folder.is_split else "") / "empty").mkdir(exist_ok=True)


def damaged(folder: Folder) -> None:
    path = folder.pick()
    content = bytearray(path.read_bytes())
    for _ in range(8):
        content[folder.rng.integers(len(content))] = folder.rng.integers(256)
    path.write_bytes(content[: folder.rng.integers(len(content) + 1)])
    folder.doubtful = True


def lost(folder: Folder) -> None:
    path = folder.pick()
    (path.parent / "lost.jpg").unlink(missing_ok=True)
    (path.parent / "lost.jpg").symlink_to("nowhere.jpg")
    folder.images[path.parent / "lost.jpg"] = folder.images[path]
    folder.doubtful = True


def other_split_names(folder: Folder) -> None:
    for split, names in (("train", ("Train", "TRAINING")), ("test", ("Testing", "VAL", "valid"))):
        if folder.is_split:
            moved(folder, folder.root / split, folder.root / str(folder.rng.choice(names)))


def class_called_as_a_split(folder: Folder) -> None:
    name = str(folder.rng.choice(["train", "Test", "valid"]))
    if not folder.is_split and (folder.root / "bee").is_dir():
        moved(folder, folder.root / "bee", folder.root / name)
        folder.images = {p: (split, name if c == "bee" else c) for p, (split, c) in folder.images.items()}
        folder.doubtful = True


def beside(folder: Folder) -> None:
    if folder.is_split:
        random_image(folder.root / "unlabelled" / "a.png", folder.rng)
        folder.doubtful = True


CHANGES: tuple[Callable[[Folder], None], ...] = (
    leftover, other_file, other_format, deeper, renamed, one_more, a_copy, loop, pipe, empty_class, damaged, lost,
    other_split_names, class_called_as_a_split, beside,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_changed_folders_are_read_as_they_are_or_refused(tmp_path, seed):
    folder = new_folder(tmp_path / "data", seed)
    changes = folder.rng.choice(len(CHANGES), size=3, replace=False)
    for change in changes:
        CHANGES[change](folder)
    said = [CHANGES[change].__name__ for change in changes]
    try:
        train, test = ImageFolder.both(folder.root)
        check_dataset(train, test)  # reads every image
        found = {
            Path(path): (split, data.classes[label])
            for split, data in (("train", train), ("test", test))
            for path, label in zip(data.paths, data.labels, strict=True)
        }
        assert set(found) == set(folder.images), said
        for path, (split, name) in folder.images.items():
            assert found[path][1] == name, said
            assert not split or found[path][0] == split, said
        assert train.classes == sorted({name for _, name in folder.images.values()}), said
        splits = load("ImageFolder", folder.root)
        if not folder.is_split:
            assert not set(splits.train.digests()) & set(splits.test.digests()), said
    except RunError as error:
        assert folder.doubtful, (said, str(error))
        assert "\n" not in str(error)
        assert str(folder.root) in str(error)
