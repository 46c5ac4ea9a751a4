"""Flags that both explanation scripts share."""

from dataclasses import dataclass
from pathlib import Path

from configs.arguments import flag
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
    palette: str = flag(
        EXPLANATION, "vivid", "colours: " + ", ".join(PALETTES), parse=choice(PALETTES, "palette")
    )
    output: str = flag(EXPLANATION, "~/tmp", "folder for the figures")
    report: bool = flag(
        EXPLANATION, False, "also write report.html, one page to explore in a browser"
    )

    @property
    def output_folder(self) -> Path:
        """Where the figures go."""
        return Path(self.output).expanduser()
