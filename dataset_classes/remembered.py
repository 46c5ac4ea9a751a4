"""Measurements that are remembered in the user's cache folder, not beside the images, which may be read-only."""

import json
import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

from configs.errors import RunError
from configs.files import fingerprint, write_atomically
from configs.paths import cache_folder
from configs.script import warn_once

log = logging.getLogger(__name__)


def remembered(kind: str, key: dict) -> Any | None:
    """The value remembered for `key`; None if there is none, or its file is damaged."""
    path = _path(kind, key)
    try:
        checksum, text = path.read_text(encoding="ascii").split("\n", 1)
        return json.loads(text) if checksum == _checksum(text) else None
    except (OSError, ValueError, AttributeError):  # AttributeError: there is no path
        return None


def remember(kind: str, key: dict, value: Any) -> None:
    """Remember a built-in value for `key`; if that is impossible, one line in the log says so.

    The file is replaced as a whole: of several processes the last one wins, and none reads half a file.
    """
    path = _path(kind, key)
    if path is None:
        warn_once(log, "No home folder: what is measured of the images is not remembered (set XDG_CACHE_HOME).")
        return
    text = json.dumps(value)
    try:
        write_atomically(path, lambda file: file.write_text(f"{_checksum(text)}\n{text}", encoding="ascii"))
    except RunError as error:
        warn_once(log, f"What is measured of the images is not remembered: {error}")


def _path(kind: str, key: dict) -> Path | None:
    folder = cache_folder()
    return folder and folder / kind / f"{fingerprint(key)}.json"


def _checksum(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()
