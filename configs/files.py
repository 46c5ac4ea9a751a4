"""Files that are written as a whole or not at all (text, JSON, CSV), and digests of their content."""

import csv
import hashlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from configs.errors import RunError

TEMPORARY = ".writing-"  # prefix of files that are being written


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Leave at `path` what `write` produces, or leave `path` as it was.

    A replaced file keeps its permissions and its owner; a new one gets the permissions that the umask leaves. A link
    stays, and its target is written. A pipe or a device is written to, not replaced.

    Args:
        path: the file to create or replace; its folder is created.
        write: fills a temporary file in the same folder, with the same suffix, whose path it is given.

    Raises:
        RunError: if the folder cannot be written or the disk is full.
    """
    target = Path(os.path.realpath(path))
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        replaced = _status(target)
        stream = replaced is not None and not (stat.S_ISREG(replaced.st_mode) or stat.S_ISDIR(replaced.st_mode))
        folder = None if stream else target.parent
        handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{target.stem}-", suffix=target.suffix, dir=folder)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        if stream:
            target.write_bytes(temporary.read_bytes())
            return
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        _set_rights(temporary, replaced)
        os.replace(temporary, target)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # moved already, or on a disk that has become read-only
                temporary.unlink()


def _status(path: Path) -> os.stat_result | None:
    """Permissions, owner and kind of a file; None if there is none."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _set_rights(file: Path, replaced: os.stat_result | None) -> None:
    """Give a private temporary file the permissions and owner of the file it replaces, or those of any new file."""
    if replaced is None:
        file.chmod(0o666 & ~umask())
        return
    if hasattr(os, "chown"):
        with suppress(OSError):  # only root gives files away
            os.chown(file, replaced.st_uid, replaced.st_gid)
    file.chmod(stat.S_IMODE(replaced.st_mode))


def umask() -> int:
    """The permissions that new files are denied; the system can only be asked by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def innermost_existing(path: Path) -> Path:
    """The path itself or the innermost folder around it that exists."""
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def check_writable(path: Path) -> None:
    """Raise the RunError of `write_atomically` if nothing could be written at `path`; leaves nothing behind."""
    try:
        tempfile.TemporaryFile(dir=innermost_existing(Path(os.path.realpath(path)).parent)).close()
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Write a text as UTF-8, atomically; `errors` as in `str.encode`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, "utf-8", errors))


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    # File names may hold bytes that are not UTF-8; JSON can escape them.
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n", "backslashreplace")


def csv_text(rows: Iterable[Iterable]) -> str:
    """Rows, the first of them a header, as CSV."""
    lines = []
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow(row)  # ending in \r\n, or a cell with \r would not be quoted
        lines.append(line.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def read_json(path: Path) -> Any | None:
    """The content of a JSON file, or None if it is missing, not JSON, or nested too deeply to be ours."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(settings: dict) -> str:
    """A short digest of a dictionary of built-in values: equal settings have equal fingerprints."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
