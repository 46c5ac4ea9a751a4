"""Images in users' folders: every format that Pillow opens, without the files that other programs leave there."""

import functools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import EpsImagePlugin, Image

from configs.errors import RunError
from configs.run_files import CONFIG, IMAGE_LIST
from configs.run_folder import MANIFEST

# Formats that Pillow recognises and cannot decode by itself.
NOT_DECODED = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
# Files that other programs leave beside images, in lower case; names that begin with a dot are always skipped.
LEFTOVERS = {
    "@eadir", "@tmp", "@recycle", "#recycle", "#snapshot",  # network disks
    "__macosx", "network trash folder", "temporary items", "icon\r",  # macOS
    "$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini",  # Windows
    "lost+found", "__pycache__",
    "trainvizqpmclasscomparisons", "testvizqpmclasscomparisons", "chiqpmexplanations", "classtree.png",  # our figures
}  # fmt: skip
# Skipped inside a class; a class itself may have such a name.
THUMBNAILS = {"thumbnails", "_thumbnails", "thumbs", "_thumbs"}
PACKED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
SHOWN = 6  # kinds of skipped files that are named


@dataclass
class Skipped:
    """Counts of what was skipped while looking for images, by ending or name."""

    endings: Counter = field(default_factory=Counter)
    leftovers: Counter = field(default_factory=Counter)
    links: int = 0  # to folders that were visited already
    special: int = 0  # pipes, sockets, devices

    def line(self) -> str:
        """What was skipped, in one line; empty if nothing was."""
        parts = []
        if self.endings:
            advice = "" if PACKED.isdisjoint(self.endings) else "; unpack what is packed"
            named = listed(self.endings) + advice
            parts.append(f"{self.endings.total()} file(s) that are no images Pillow can read ({named})")
        if self.leftovers:
            parts.append(f"hidden and left-over files and folders ({listed(self.leftovers)})")
        if self.links:
            parts.append(f"{self.links} link(s) to folders that are looked into already")
        if self.special:
            parts.append(f"{self.special} file(s) that are no regular files")
        return "Left out: " + ", ".join(parts) if parts else ""


def listed(counts: Counter) -> str:
    """ "24 .heic, 2 .txt": the most frequent first."""
    named = [f"{count} {name}" for name, count in counts.most_common(SHOWN)]
    return ", ".join(named + ["..."] * (len(counts) > SHOWN))


@functools.cache
def image_endings() -> frozenset[str]:
    """Endings, in lower case, of the files that the installed Pillow can read."""
    Image.init()
    missing = NOT_DECODED if EpsImagePlugin.has_ghostscript() else {*NOT_DECODED, "EPS"}
    return frozenset(
        ending.lower()
        for ending, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in missing
    )


def is_image(file: str) -> bool:
    """Whether a file is an image by its name."""
    return ending_of(file) in image_endings()


def ending_of(file: str) -> str:
    """ ".jpg" of "a.JPG"; "without ending" where there is none."""
    return os.path.splitext(file)[1].lower() or "without ending"


def is_leftover(name: str) -> bool:
    """Whether a file or folder is hidden, or known to come from another program."""
    return name.startswith(".") or name.lower() in LEFTOVERS


def find_images(folder: str | Path, skipped: Skipped) -> list[str]:
    """The image files in `folder` at any depth, in the order of their paths; each folder is visited once.

    Args:
        skipped: counts what is skipped.

    Raises:
        RunError: if a folder cannot be read; names it.
    """
    images: list[str] = []
    # A link back to where the walk came from would bring in the images of other classes.
    seen = {(s.st_dev, s.st_ino) for s in map(os.stat, Path(os.path.realpath(folder)).parents)}
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        identity = _identity(place)
        if identity in seen:
            skipped.links += 1
            continue
        seen.add(identity)
        entries = list(scan(place))
        # The figures in a run folder, finished or not, are not images of a class.
        names = {entry.name for entry in entries}
        if CONFIG in names and names & {MANIFEST, IMAGE_LIST}:
            skipped.leftovers["run folder"] += 1
            continue
        for entry in entries:
            folder_inside = _is_folder(entry)
            if is_leftover(entry.name) or (folder_inside and entry.name.lower() in THUMBNAILS):
                skipped.leftovers[entry.name if folder_inside else _kind_of_leftover(entry)] += 1
            elif folder_inside:
                waiting.append(entry.path)
            elif not is_image(entry.name):
                skipped.endings[ending_of(entry.name)] += 1
            elif _is_special(entry):
                skipped.special += 1
            else:
                images.append(entry.path)
    return sorted(images)


def class_folders(folder: str | Path, skipped: Skipped) -> dict[str, str]:
    """Paths of the sub-folders, sorted by name; RunError if they cannot be read, or a name is not UTF-8."""
    found = {}
    for entry in scan(folder):
        if not _is_folder(entry):
            continue
        if is_leftover(entry.name):
            skipped.leftovers[entry.name] += 1
            continue
        if entry.name.encode(errors="ignore").decode() != entry.name:
            raise RunError(f"The folder name {entry.name!r} in {folder} is not UTF-8 text; rename it.")
        found[entry.name] = entry.path
    return dict(sorted(found.items()))


def scan_classes(folder: str | Path, skipped: Skipped) -> dict[str, list[str]]:
    """The image files below every sub-folder, both sorted by name; errors as in `class_folders` and `find_images`."""
    return {name: find_images(path, skipped) for name, path in class_folders(folder, skipped).items()}


def scan(folder: str | Path) -> Iterator[os.DirEntry]:
    """The entries of a folder; RunError, which names it, if it cannot be listed or entered."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
        os.stat(os.path.join(folder, "."))  # some folders can be listed though their files cannot be opened
    except OSError as error:
        raise _cannot_look_into(folder, error) from None
    yield from found


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError as error:
        raise _cannot_look_into(folder, error) from None
    return status.st_dev, status.st_ino


def _cannot_look_into(folder: str | Path, error: OSError) -> RunError:
    return RunError(f"Cannot look into {folder}: {error.strerror}.")


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_special(entry: os.DirEntry) -> bool:
    """Whether this exists but is not a regular file: opening it might block forever."""
    try:
        return os.path.exists(entry.path) and not entry.is_file()
    except OSError:
        return False


def _kind_of_leftover(entry: os.DirEntry) -> str:
    """Name under which a left-over is counted: "._1.jpg" and "._2.jpg" are of one kind."""
    return "._*" if entry.name.startswith("._") else entry.name
