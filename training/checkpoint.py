"""The state of an unfinished training: a file from which a later process resumes."""

import logging
from pathlib import Path

from architectures.checkpoints import load_tensors, save_tensors
from configs import processes
from configs.files import fingerprint, write_atomically
from configs.run_folder import UNFINISHED, Artefact

log = logging.getLogger(__name__)


class Checkpoint:
    """The state of an unfinished training, valid for one configuration only.

    Args:
        path: the file, removed once the training is finished.
        kept: whether `remove` leaves the file in place.
    """

    def __init__(self, path: Path, settings: dict, *, kept: bool = False):
        self.path, self._kept = path, kept
        self._fingerprint = fingerprint(settings)

    def save(self, state: dict) -> None:
        """Write the state atomically; of several processes, only the main one does."""
        content = {"fingerprint": self._fingerprint, **state}
        if processes.is_main():
            write_atomically(self.path, lambda path: save_tensors(content, path))

    def load(self) -> dict | None:
        """The state, or None if there is none for this configuration."""
        if not self.path.exists():
            return None
        try:
            state = load_tensors(self.path)
        except Exception as error:  # a damaged file may hold anything: the training starts again
            log.warning("%s cannot be read (%s); starting again", self.path, type(error).__name__)
            return None
        if state.get("fingerprint") == self._fingerprint:
            return state
        log.warning("%s was made with other settings or images; starting again", self.path)
        return None

    def remove(self) -> None:
        """Delete the file; of several processes, only the main one does."""
        if processes.is_main() and not self._kept:
            self.path.unlink(missing_ok=True)


def checkpoint_of(artefact: Artefact) -> Checkpoint:
    """The checkpoint beside the file that a training makes; after a kill it may outlive the training."""
    path = artefact.path.with_suffix(UNFINISHED)
    return Checkpoint(path, artefact.settings, kept=artefact.folder.read_only)
