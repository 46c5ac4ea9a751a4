"""A run folder in which nothing is written: a run on it tells which files it would reuse, and why not the others."""

from configs.run_files import DENSE_RESULTS_FILE
from configs.run_folder import Artefact, RunFolder

READ_BY_NO_STAGE = (DENSE_RESULTS_FILE,)


class WouldMake(Exception):
    """A file would have to be made before anything is known about those that depend on it."""


class RehearsedArtefact(Artefact):
    """A file that is checked and never made."""

    folder: "RehearsedFolder"

    def is_current(self) -> bool:
        """Whether it can be reused; WouldMake if it cannot, and later stages need it."""
        why = self.why_outdated()
        if why is None:
            self.folder.reused.add(self.name)
            return True
        self.folder.outdated[self.name] = why
        if self.name in READ_BY_NO_STAGE:
            return True
        raise WouldMake


class RehearsedFolder(RunFolder):
    """The folder of a run that is only rehearsed.

    Attributes:
        reused: names of the files that are current.
        outdated: name -> why it has to be made.
    """

    read_only = True

    def __init__(self, folder: RunFolder):
        super().__init__(folder.path)
        self.reused: set[str] = set()
        self.outdated: dict[str, str] = {}

    def artefact(self, name: str, depends_on: dict) -> RehearsedArtefact:
        """As `RunFolder.artefact`."""
        return RehearsedArtefact(self, name, depends_on)
