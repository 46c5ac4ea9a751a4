"""A report on a dataset before anything is trained on it: counts, unreadable or missing files, boxes, copies, names.

    python -m dataset_classes.check --dataset CUB2011 --data_root PATH

takes the flags of `main.py` and changes nothing. It exits with 1 if training could not run or would be misled: missing
or unreadable images, broken annotations, boxes outside their image or most of them over its edge, a single class, too
few images in a class or for testing, a picture under two labels, classes whose names look alike, almost black images.
Flaws that even published datasets have are only reported: the same image in both splits, some boxes cut by the edge,
classes without test images.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from configs.errors import RunError
from configs.script import run_script
from configs.settings import parse_settings
from dataset_classes.base import ImageDataset
from dataset_classes.contents import in_threads
from dataset_classes.image_files import has_more_frames
from dataset_classes.layouts import same_name
from dataset_classes.near_copies import near_pairs, thumbnail
from dataset_classes.pixels import ALMOST_BLACK, is_almost_black
from dataset_classes.registry import both_splits, range_of

SHOWN = 10  # of each kind of finding
OVER_EDGE = "boxes that reach over the edge of their image"
WIDEST = 40  # column of class names


@dataclass
class Report:
    """Counts per split, and for each kind of problem or remark one line per image, pair of images or class."""

    counts: dict[str, np.ndarray]  # per split, images of each class [C]
    classes: list[str]
    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    remarks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The report as text."""
        for split, counts in self.counts.items():
            yield f"{split:>6}: {counts.sum()} images of {(counts > 0).sum()} classes, {range_of(counts)} per class"
        names = [name if name.isprintable() else repr(name) for name in self.classes]
        width = min(max(map(len, [*names, "class"])), WIDEST)
        yield f"\n{'class':<{width}}  " + "".join(f"{split:>8}" for split in self.counts)
        for label, name in enumerate(names):
            yield f"{name:<{width}}  " + "".join(f"{counts[label]:>8}" for counts in self.counts.values())
        yield ""
        yield from self.notes
        for kind, found in {**self.problems, **self.remarks}.items():
            yield f"{kind}: {len(found)}"
            yield from (f"    {line}" for line in found[:SHOWN])
            if len(found) > SHOWN:
                yield f"    ... and {len(found) - SHOWN} more"
        if not self.problems:
            yield "No problems found." if not self.remarks else "No problems beyond these remarks."


def check_dataset(train: ImageDataset, test: ImageDataset) -> Report:
    """Read every image of both splits and report all problems."""
    splits = {"train": train, "test": test}
    n_classes = len(train.classes)
    counts = {name: np.bincount(data.labels, minlength=n_classes) for name, data in splits.items()}
    report = Report(counts, train.classes)
    report_classes(report)
    for data in (train, test):
        try:
            data.check_annotations()
        except RunError as error:
            report.problems["broken annotations"].append(str(error))
    seen = [image for name, data in splits.items() for image in read_split(report, name, data)]
    report_copies(report, seen)
    report_near_copies(report, seen)
    report_dark(report, seen)
    if len(report.remarks[OVER_EDGE]) > len(seen) / 2:
        report.problems[f"{OVER_EDGE} (are they x, y, width, height?)"] = report.remarks.pop(OVER_EDGE)
    report.remarks["files of several frames or pages, of which the first is used"] += [
        image.path for image in seen if image.more_frames
    ]
    if train.scale.ranges:
        report.notes += [
            f"Values of {kind} images: {black:g} counts as black and {white:g} as white in all of them."
            for kind, (black, white) in train.scale.ranges.items()
        ]
    report.problems, report.remarks = (
        {kind: found for kind, found in findings.items() if found} for findings in (report.problems, report.remarks)
    )
    return report


@dataclass(frozen=True)
class Seen:
    """An image that was read."""

    path: str
    split: str
    label: int
    content: bytes  # a digest of its pixels
    size: tuple[int, int]
    dark: bool  # whether it is almost black
    more_frames: bool  # whether its file holds further frames or pages
    thumbnail: np.ndarray  # see `near_copies`


def report_classes(report: Report) -> None:
    """Report classes with too few images, and those whose names look alike."""
    if len(report.classes) < 2:
        report.problems["fewer than 2 classes"] += report.classes
    n_test = report.counts["test"].sum()
    if n_test < 2:
        report.problems["fewer than 2 test images (one calibrates, one measures)"].append(f"{n_test} in all")
    for label in np.flatnonzero(report.counts["train"] < 2):
        report.problems["classes with fewer than 2 training images"].append(report.classes[label])
    for label in np.flatnonzero(report.counts["test"] == 0):
        report.remarks["classes without test images"].append(report.classes[label])
    names_alike: dict[str, list[str]] = defaultdict(list)
    for name in report.classes:
        names_alike[same_name(name)].append(f"{name!r} ({name!a})")
    kind = "classes whose names differ in case, blanks or Unicode form only"
    report.problems[kind] += [" = ".join(names) for names in names_alike.values() if names[1:]]


def read_split(report: Report, name: str, data: ImageDataset) -> Iterator[Seen]:
    """The images of a split that can be read; reports the others, and boxes that do not fit."""
    missing = set(data.missing_images())
    report.problems["missing files"] += sorted(missing)
    present = [i for i in range(len(data)) if data.paths[i] not in missing]
    shown = {"desc": f"Reading {name} images", "unit": "image"}
    examined = in_threads(partial(examine, data, name), present, **shown)
    for index, found in zip(present, examined, strict=True):
        if isinstance(found, RunError):
            report.problems["unreadable images"].append(str(found))
            continue
        if data.boxes is not None:
            check_box(report, found.path, data.boxes[index], found.size)
        yield found


def report_copies(report: Report, seen: list[Seen]) -> None:
    """Report images with the same pixels: under two labels, in both splits, or twice in a class."""
    first: dict[bytes, list[Seen]] = {}  # one image of every label and split with that content
    for image in seen:
        owners = first.setdefault(image.content, [])
        other_label = next((o for o in owners if o.label != image.label), None)
        other_split = next((o for o in owners if o.split != image.split), None)
        if other_label:
            report.problems["one picture under two labels"].append(f"{other_label.path} = {image.path}")
        if other_split:
            report.remarks["images in both splits"].append(f"{other_split.path} = {image.path}")
        if owners and not other_label and not other_split:
            report.remarks["copies within a class"].append(f"{owners[0].path} = {image.path}")
        if all((o.label, o.split) != (image.label, image.split) for o in owners):
            owners.append(image)


def report_near_copies(report: Report, seen: list[Seen]) -> None:
    """Report images that look the same by their perceptual hashes, though their pixels differ."""
    distinct = list({image.content: image for image in seen}.values())
    if len(distinct) < 2:
        return
    small = np.stack([image.thumbnail for image in distinct])
    for a, b in near_pairs(small):
        one, other = distinct[a], distinct[b]
        kind = "within a class"
        if one.split != other.split:
            kind = "in both splits"
        elif one.label != other.label:
            kind = "under two labels"
        report.remarks[f"near copies by perceptual hash, {kind}"].append(f"{one.path} ~ {other.path}")


def report_dark(report: Report, seen: list[Seen]) -> None:
    """Report images that are almost black: a problem if they are most of the images."""
    dark = [image.path for image in seen if image.dark]
    if dark:
        kind = report.problems if len(dark) > len(seen) / 2 else report.remarks
        kind[
            f"almost black images (no value above {ALMOST_BLACK} of 255; were they saved with more bits than they use?)"
        ] += dark


def check_box(report: Report, path: str, box, size: tuple[int, int]) -> None:
    """Report a box (x, y, width, height) that leaves its image by more than a rounding error of 1 pixel."""
    x, y, width, height = box
    right, bottom = x + width, y + height
    line = f"{path}: box {x:g}, {y:g} to {right:g}, {bottom:g} in {size[0]} x {size[1]} pixels"
    if width < 1 or height < 1 or x >= size[0] or y >= size[1] or right <= 0 or bottom <= 0:
        report.problems["boxes that hold no pixel of their image"].append(line)
    elif x < -1 or y < -1 or right > size[0] + 1 or bottom > size[1] + 1:
        report.remarks[OVER_EDGE].append(line)


def examine(data: ImageDataset, split: str, index: int) -> Seen | RunError:
    """One image decoded, or why it cannot be."""
    try:
        image = data.full_image(index)
    except RunError as error:
        return error
    content = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    label, path, dark = int(data.labels[index]), data.paths[index], is_almost_black(image)
    return Seen(path, split, label, content, image.size, dark, has_more_frames(path), thumbnail(image))


def main() -> None:
    """Command line: print the report."""
    (settings,) = parse_settings(None, __doc__)
    report = check_dataset(*both_splits(settings))
    print(f"{settings.dataset} under {settings.data_root}\n" + "\n".join(report.lines()))
    if report.problems:
        raise RunError(f"{sum(map(len, report.problems.values()))} problems found in {settings.dataset}.")


if __name__ == "__main__":
    run_script(main)
