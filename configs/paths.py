"""Paths as users write them, also on machines where they have no home folder."""

import os
from pathlib import Path


def expanded(text: str) -> str:
    """A path in which `~` is the home folder.

    Raises:
        ValueError: if it is empty, or there is no such home; says what to write instead.
    """
    if not text.strip():
        raise ValueError("an empty path (is a variable of the shell not set?)")
    path = os.path.expanduser(text)
    if not path.startswith("~"):
        return path
    name = text.partition("/")[0]
    if name == "~":
        raise ValueError(f"{text}: this user has no home folder here; give the whole path")
    raise ValueError(f"{text}: there is no user {name[1:]!r}; write ~/{name[1:]} for a folder in your own home")


def expanded_default(text: str) -> str:
    """As `expanded`, but a default that cannot be expanded is returned unchanged: it may not be needed."""
    try:
        return expanded(text)
    except ValueError:
        return text


def cache_folder() -> Path | None:
    """Folder for this user's caches; None without a home folder."""
    folder = os.environ.get("XDG_CACHE_HOME") or expanded_default("~/.cache")
    return None if folder.startswith("~") else Path(folder) / "chiqpm"
