"""The contents of image files: a digest of every byte, and the range of values in images that do not have 8 bits.

Reading all images takes time only once: the result is remembered with the file's path, size, times and inode, so that
the second time costs one `stat` per file. A file that changed within the last seconds is not remembered, since another
change might leave all of these the same. The inode's change time (ctime) counts too: programs can set mtime back.
"""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image

from configs.errors import reason
from configs.script import progress
from dataset_classes.pixels import Extremes, extremes
from dataset_classes.remembered import remember, remembered

DIGEST_BYTES = 16
SETTLED_NS = 2 * 10**9  # file systems count time in steps of up to 2 seconds
KIND = "contents"  # folder in the user's cache
BATCH = 4096  # items queued at a time, which bounds memory

T = TypeVar("T")
R = TypeVar("R")
Stamp = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode


@dataclass(frozen=True)
class Content:
    """The content of a file."""

    digest: str | None  # BLAKE2b of all its bytes, 32 hexadecimal digits; None if it cannot be read
    values: Extremes | None = None  # of an image that does not have 8 bits
    error: str | None = None


def contents(paths: Sequence[str], root: str | Path) -> list[Content]:
    """The content of every file, in order; remembered by the dataset's folder, `root`."""
    key = {"root": os.path.abspath(root)}
    paths = [os.path.abspath(path) for path in paths]
    known = _known(key)
    stamps = {path: _stamp(path) for path in paths}
    now = time.time_ns()
    unread = [path for path, stamp in stamps.items() if stamp is None or path not in known or known[path][0] != stamp]
    found = in_threads(read_content, unread, desc="Reading image files", unit="file")
    read = dict(zip(unread, found, strict=True))
    settled = {
        path: (stamp, read[path])
        for path, stamp in stamps.items()
        if path in read and read[path].digest and now - max(stamp[1:3]) > SETTLED_NS
    }
    if settled:
        kept = {p: entry for p, entry in known.items() if p in stamps or os.path.lexists(p)}
        remember(KIND, key, {p: _as_list(*entry) for p, entry in {**kept, **settled}.items()})
    return [read[path] if path in read else known[path][1] for path in paths]


def in_threads(work: Callable[[T], R], items: Sequence[T], **shown: str) -> Iterator[R]:
    """The results of `work` for all items, in order, from as many threads as there are cores, with a progress bar."""
    with ThreadPoolExecutor(os.cpu_count()) as pool, progress(items, **shown) as bar:
        for start in range(0, len(items), BATCH):
            for done in pool.map(work, items[start : start + BATCH]):
                bar.update()
                yield done


def require_regular(path: str) -> None:
    """Raise an OSError unless this is a regular file: reading a pipe or a device may never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("it is a folder, a pipe or a device and no file")


def read_content(path: str) -> Content:
    """The content of a file."""
    try:
        require_regular(path)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=DIGEST_BYTES)).hexdigest()
            file.seek(0)
            return Content(digest, _values(file))
    except (OSError, ValueError) as error:  # ValueError: a table may hold what cannot be a file name
        return Content(None, error=reason(error))


def _values(file) -> Extremes | None:
    try:
        with Image.open(file) as image:
            return extremes(image)
    except Exception:  # Pillow raises many kinds for damaged files; they are reported when the pixels are read
        return None


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _known(key: dict) -> dict[str, tuple[Stamp, Content]]:
    """The remembered contents of a dataset; empty if they are damaged."""
    entries = remembered(KIND, key)
    try:
        return {path: _from_list(entry) for path, entry in entries.items()}
    except (AttributeError, TypeError, ValueError):
        return {}


def _as_list(stamp: Stamp, content: Content) -> list:
    values = content.values
    return [*stamp, content.digest, *((values.kind, values.low, values.high) if values else ())]


def _from_list(entry: list) -> tuple[Stamp, Content]:
    size, mtime, ctime, inode, digest, *values = entry
    return (size, mtime, ctime, inode), Content(digest, Extremes(*values) if values else None)
