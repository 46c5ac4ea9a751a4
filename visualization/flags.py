"""Flags that both explanation scripts share."""

from dataclasses import dataclass
from pathlib import Path

from configs.arguments import flag
from configs.errors import UsageError
from configs.paths import expanded, expanded_default
from configs.settings import choice
from visualization.colours import PALETTES
from visualization.figure import FORMATS

EXPLANATION = "explanation"


@dataclass(frozen=True)
class FigureFlags:
    """How figures look and where they go."""

    format: tuple[str, ...] = flag(
        EXPLANATION, ("png",), "files of every figure: " + ", ".join(FORMATS),
        parse=choice(FORMATS, "format"), many=True,
    )  # fmt: skip
    palette: str = flag(EXPLANATION, "vivid", "colours: " + ", ".join(PALETTES), parse=choice(PALETTES, "palette"))
    output: str = flag(EXPLANATION, "~/tmp", "folder for the figures", parse=expanded)
    report: bool = flag(EXPLANATION, False, "also write report.html, one page to explore in a browser")

    @property
    def output_folder(self) -> Path:
        """Where the figures go.

        Raises:
            UsageError: if none was given, and there is no home for the default.
        """
        output = expanded_default(self.output)
        if output.startswith("~"):
            raise UsageError("there is no home folder for figures here: give --output")
        return Path(output)
