"""Flags that both explanation scripts share."""

from dataclasses import dataclass
from pathlib import Path

from configs.arguments import flag
from visualization.colours import PALETTES
from visualization.figure import FORMATS

EXPLANATION = "explanation"


def one_of(choices):
    """A parser that takes one of some words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text.lower()

    return parse


@dataclass(frozen=True)
class FigureFlags:
    """How figures look and where they go."""

    format: tuple[str, ...] = flag(
        EXPLANATION,
        ("png",),
        "files of every figure: " + ", ".join(FORMATS),
        parse=one_of(FORMATS),
        many=True,
    )
    palette: str = flag(
        EXPLANATION, "vivid", "colours: " + ", ".join(PALETTES), parse=one_of(PALETTES)
    )
    output: str = flag(
        EXPLANATION, "~/tmp", "folder for the figures", parse=lambda text: str(Path(text))
    )
    report: bool = flag(
        EXPLANATION, False, "also write report.html, one page to explore in a browser"
    )

    @property
    def output_folder(self) -> Path:
        """Where the figures go."""
        return Path(self.output).expanduser()
