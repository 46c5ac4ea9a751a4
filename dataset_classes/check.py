"""A report on a dataset before anything is trained on it: counts, unreadable or missing files, boxes, duplicates.

    python -m dataset_classes.check --dataset CUB2011 --data_root PATH

takes the flags of `main.py` and changes nothing. It exits with 1 if training could not run or would be misled (missing
or unreadable images, boxes beside their image, too few images in a class); what even published datasets contain is
reported and passes (the same image in both splits, boxes cut by the edge, classes without test images).
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from configs.errors import RunError
from configs.script import progress, run_script
from configs.settings import Settings, parse_settings
from dataset_classes.base import ImageDataset
from dataset_classes.registry import dataset_class

SHOWN = 5  # of each kind of finding
BATCH = 4096  # images in work at a time, so that millions need no more memory


@dataclass
class Report:
    """Counts per split, and for each kind of problem or remark one line per image, pair of images or class."""

    counts: dict[str, np.ndarray]  # per split, images of each class [C]
    classes: list[str]
    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    remarks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def lines(self) -> Iterator[str]:
        """The report as text."""
        for split, counts in self.counts.items():
            yield f"{split:>6}: {counts.sum()} images of {(counts > 0).sum()} classes, {spread(counts)} per class"
        width = max(map(len, self.classes))
        yield f"\n{'class':<{width}}  " + "".join(f"{split:>8}" for split in self.counts)
        for label, name in enumerate(self.classes):
            yield f"{name:<{width}}  " + "".join(
                f"{counts[label]:>8}" for counts in self.counts.values()
            )
        yield ""
        for kind, found in {**self.problems, **self.remarks}.items():
            yield f"{kind}: {len(found)}"
            yield from (f"    {line}" for line in found[:SHOWN])
            if len(found) > SHOWN:
                yield f"    ... and {len(found) - SHOWN} more"
        if not self.problems:
            yield "No problems found." if not self.remarks else "No problems beyond these remarks."


def spread(counts: np.ndarray) -> str:
    """ "30" or "18 to 30"."""
    return (
        str(counts.min()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    )


def check_dataset(train: ImageDataset, test: ImageDataset) -> Report:
    """Read every image of both splits and report what is wrong with them."""
    splits = {"train": train, "test": test}
    n_classes = len(train.classes)
    counts = {name: np.bincount(data.labels, minlength=n_classes) for name, data in splits.items()}
    report = Report(counts, train.classes)
    for label in np.flatnonzero(counts["train"] < 2):
        report.problems["classes with fewer than 2 training images"].append(train.classes[label])
    for label in np.flatnonzero(counts["test"] == 0):
        report.remarks["classes without test images"].append(train.classes[label])
    owners: dict[bytes, str] = {}  # the first training image with that content
    for name, data in splits.items():
        missing = set(data.missing_images())
        report.problems["missing files"] += sorted(missing)
        present = [i for i in range(len(data)) if data.paths[i] not in missing]
        for index, found in zip(present, examine_all(data, present, name), strict=True):
            path = data.paths[index]
            if isinstance(found, RunError):
                report.problems["unreadable images"].append(str(found))
                continue
            if data.boxes is not None:
                check_box(report, path, data.boxes[index], found.size)
            if name == "train":
                owners.setdefault(found.content, path)
            elif found.content in owners:
                report.remarks["images in both splits"].append(f"{owners[found.content]} = {path}")
    report.problems = {kind: found for kind, found in report.problems.items() if found}
    return report


def check_box(report: Report, path: str, box, size: tuple[int, int]) -> None:
    """Report a box (x, y, width, height) that leaves its image by more than a rounding error of 1 pixel."""
    x, y, width, height = box
    right, bottom = x + width, y + height
    line = f"{path}: box {x:g}, {y:g} to {right:g}, {bottom:g} in {size[0]} x {size[1]} pixels"
    if width <= 0 or height <= 0 or x >= size[0] or y >= size[1] or right <= 0 or bottom <= 0:
        report.problems["boxes outside their image"].append(line)
    elif x < -1 or y < -1 or right > size[0] + 1 or bottom > size[1] + 1:
        report.remarks["boxes that reach over the edge of their image"].append(line)


@dataclass(frozen=True)
class Examination:
    """What is remembered of an image: a digest of its pixels, and its size (width, height)."""

    content: bytes
    size: tuple[int, int]


def examine_all(
    data: ImageDataset, indices: list[int], split: str
) -> Iterator[Examination | RunError]:
    """The examinations of the images, in order; decoding runs on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shown = progress(indices, desc=f"Reading {split} images", unit="image")
        for start in range(0, len(indices), BATCH):
            for found in pool.map(
                lambda index: examine(data, index), indices[start : start + BATCH]
            ):
                shown.update()
                yield found
        shown.close()


def examine(data: ImageDataset, index: int) -> Examination | RunError:
    """One image decoded, or why it cannot be."""
    try:
        image = data.full_image(index)
    except RunError as error:
        return error
    return Examination(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), image.size)


def load_splits(settings: Settings) -> tuple[ImageDataset, ImageDataset]:
    """Both splits without the checks that would end at the first problem."""
    dataset = dataset_class(settings.dataset)
    options = {"img_size": settings.img_size, "crop_gt": settings.crop}
    return dataset.both(settings.data_root, **options)


def main() -> None:
    """Command line: print the report."""
    (settings,) = parse_settings(None, __doc__)
    report = check_dataset(*load_splits(settings))
    print(f"{settings.dataset} under {settings.data_root}\n" + "\n".join(report.lines()))
    if report.problems:
        raise RunError(
            f"{sum(map(len, report.problems.values()))} problems found in {settings.dataset}."
        )


if __name__ == "__main__":
    run_script(main)
