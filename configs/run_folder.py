"""The run folder: where every stage leaves its result, and how a later call knows it may reuse it.

Each finished file has an entry in `manifest.json`: the settings it was made from and the SHA-256 of its content.
A file is reused only if both still hold, so changed settings, a half-finished stage, and a damaged or replaced
file all lead to the stage being done again. The next stage depends on the *content* of the one before it.
"""

import json
import logging
import os
from collections.abc import Callable, Collection
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from configs import processes
from configs.errors import RunError
from configs.files import TEMPORARY, read_json, sha256, umask, write_atomically, write_json

log = logging.getLogger(__name__)
T = TypeVar("T")

MANIFEST = "manifest.json"
UNFINISHED = ".partial"  # suffix of checkpoints


def _is_entry(entry: Any) -> bool:
    """Whether something in a manifest is what `Artefact.write` entered."""
    return (
        isinstance(entry, dict)
        and {*entry} == {"settings", "sha256"}
        and isinstance(entry["settings"], dict)
        and isinstance(entry["sha256"], str)
    )


class Artefact:
    """One file of a run folder together with the settings it depends on."""

    def __init__(self, folder: "RunFolder", name: str, settings: dict):
        self.folder = folder
        self.name = name
        self.path = folder.path / name
        # As it will be read back: tuples are lists.
        self.settings = json.loads(json.dumps(settings))

    def is_current(self) -> bool:
        """Whether the file is there, undamaged, and made from these settings (logs why if it is not)."""
        return processes.broadcast(self._is_current)

    def _is_current(self) -> bool:
        why = self.why_outdated()
        if why is not None and self.path.is_file():
            log.info("%s is made again: %s", self.name, why)
        return why is None

    def why_outdated(self, only: Collection[str] | None = None) -> str | None:
        """Why the file has to be made, None if it is current; `only`: settings to compare, None for all."""
        if not self.path.is_file():
            return "it is not there"
        entry = self.folder.manifest().get(self.name)
        if entry is None:
            return f"{MANIFEST} does not list it as finished"
        old, new = entry["settings"], self.settings
        changed = [k for k in sorted(only or {*old, *new}) if old.get(k) != new.get(k)]
        if changed:
            return "changed " + ", ".join(changed)
        known = entry["sha256"] == sha256(self.path)
        return None if known else "the file is not the one this run wrote"

    def load_or_make(
        self,
        load: Callable[[Path], T],
        make: Callable[[Path | None], Any],
        *,
        what: str | None = None,
        together: bool = False,
        again: bool = False,
    ) -> T:
        """The content of the file, which is made first unless it is current.

        Args:
            load: called with the path of the file.
            make: fills the file, as in `write`.
            what: name of the content in the log line about its reuse; None: no such line.
            together: as in `write`.
            again: whether to make it even if it is current.

        Raises:
            RunError: as `write`.
        """
        if again or not self.is_current():
            self.write(make, together=together)
        elif what:
            log.info("%s: %s is reused.", what, self.path)
        return load(self.path)

    def write(self, write: Callable[[Path | None], Any], *, together: bool = False) -> None:
        """Write the file atomically, then enter it in the manifest.

        Of several processes only the main one calls `write`; the others wait until the file is there.

        Args:
            write: called with the path of a temporary file, to be filled.
            together: whether the other processes call `write` too, with None, since they take part in computing.

        Raises:
            RunError: if another run holds the folder, or it cannot be written.
        """
        if together and not processes.is_main():
            write(None)
        processes.broadcast(lambda: self._write(write))

    def _write(self, write: Callable[[Path], Any]) -> None:
        # Of two processes that enter files in the manifest at once, one would strike out the other's.
        with self.folder.locked():
            # A kill between the two writes must not leave an old entry standing.
            self.folder.forget(self.name)
            write_atomically(self.path, write)
            self.folder.enter(self.name, {"settings": self.settings, "sha256": sha256(self.path)})


class RunFolder:
    """A run's folder, `LOG_DIR/ARCH/DATASET[_crop]/SEED`."""

    read_only = False

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock = FileLock(self.path / ".lock", timeout=0, mode=0o666 & ~umask())

    def file(self, name: str) -> Path:
        """Path of a file of this run."""
        return self.path / name

    def artefact(self, name: str, depends_on: dict) -> Artefact:
        """A file of this run, valid only for the given settings."""
        return Artefact(self, name, depends_on)

    def manifest(self) -> dict:
        """All finished files of this run: name -> settings and SHA-256; without damaged entries.

        Raises:
            RunError: if there is a manifest that cannot be read.
        """
        path = self.path / MANIFEST
        if path.exists() and not (path.is_file() and os.access(path, os.R_OK)):
            raise RunError(f"{path} is not a file that can be read; move it away, and all stages are repeated")
        entries = read_json(path)
        if not isinstance(entries, dict):
            return {}
        return {name: entry for name, entry in entries.items() if _is_entry(entry)}

    def digest(self, name: str) -> str:
        """SHA-256 of a finished file's content, which later stages depend on."""
        return self.manifest()[name]["sha256"]

    def enter(self, name: str, entry: dict) -> None:
        """Record a finished file."""
        write_json(self.path / MANIFEST, {**self.manifest(), name: entry})

    def forget(self, name: str) -> None:
        """Strike a file from the manifest."""
        entries = self.manifest()
        if entries.pop(name, None) is not None:
            write_json(self.path / MANIFEST, entries)

    @contextmanager
    def locked(self):
        """Lock the folder for one writing process, and remove what killed ones were writing; may be nested.

        Raises:
            RunError: if another process holds it, the folder cannot be written, or its manifest not be read.
        """
        # The main process of a run holds it for all.
        if not processes.is_main() or self._lock.is_locked:
            yield self
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise RunError(
                f"another run is working in {self.path}; wait for it or choose another --seed or --log_dir"
            ) from None
        except OSError as error:
            raise RunError(f"cannot write in the run folder {self.path}: {error.strerror}") from error
        try:
            self.manifest()  # one that cannot be read is told before hours of work
            for level in ("", "*/"):  # plots have a folder of their own
                for leftover in self.path.glob(f"{level}{TEMPORARY}*"):
                    leftover.unlink(missing_ok=True)
            yield self
        finally:
            self._lock.release()
