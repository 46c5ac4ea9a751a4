"""Splits the images of one folder into training and test images, each by its content."""

import hashlib
import os
from collections import Counter
from pathlib import Path

from dataset_classes.base import relative_name
from dataset_classes.contents import contents
from dataset_classes.image_list import ImageList

TEST_SHARE = 0.3  # expected share of every class

ClassImages = dict[str, list[str]]  # image files by class name


def split_by_content(classes: ClassImages, root: Path, known: ImageList | None) -> tuple[ClassImages, ClassImages]:
    """Training and test images, decided for each image by its content.

    An image is a test image if its digest, as a fraction, is below `TEST_SHARE`: adding or removing images moves no
    others, and copies are always on the same side. Only where a class would have no test image, or fewer than 2 for
    training, do those with the lowest or highest digest change sides. Images on the list of an earlier split stay.
    """
    paths = [path for images in classes.values() for path in images]
    digest_of = dict(zip(paths, digests(paths, root), strict=True))
    listed = {}
    for path, digest in digest_of.items() if known else ():
        if side := known.split_of(digest, relative_name(path, root)):
            listed[digest] = side
    sides = {digest: listed.get(digest) or side_of(digest) for digest in digest_of.values()}
    owners = Counter(d for images in classes.values() for d in {digest_of[path] for path in images})
    for images in classes.values():
        own = [digest_of[path] for path in images]
        free = sorted(set(own) - set(listed))
        alone = [d for d in free if owners[d] == 1]
        shared = [d for d in free if owners[d] > 1]  # last: another class would lose them
        for digest in alone[::-1] + shared[::-1]:
            if sum(sides[d] == "train" for d in own) >= min(2, len(own)):
                break
            sides[digest] = "train"
        for digest in alone + shared:
            n_train = sum(sides[d] == "train" for d in own)
            if n_train < len(own) or n_train - own.count(digest) < 2:
                break
            sides[digest] = "test"
    train, test = (
        {name: [path for path in images if sides[digest_of[path]] == side] for name, images in classes.items()}
        for side in ("train", "test")
    )
    return train, test


def side_of(digest: str) -> str:
    """The split of an image by its digest alone."""
    return "test" if int(digest, 16) < TEST_SHARE * 16 ** len(digest) else "train"


def digests(paths: list[str], root: Path) -> list[str]:
    """The digest of every file's content, or of its name if it cannot be read, which is reported elsewhere."""
    return [
        content.digest or hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()
        for path, content in zip(paths, contents(paths, root), strict=True)
    ]
