"""Flags of both explanation scripts."""

from dataclasses import dataclass
from pathlib import Path

from configs.arguments import choice, flag
from configs.paths import expanded
from configs.run_folder import RunFolder
from configs.settings import Settings
from visualization.colours import PALETTES
from visualization.figure import FORMATS

EXPLANATION = "explanation"


@dataclass(frozen=True)
class FigureFlags:
    """How figures look and where they go."""

    format: tuple[str, ...] = flag(
        EXPLANATION, ("png",), "file formats of every figure: " + ", ".join(FORMATS),
        parse=choice(FORMATS, "format"), many=True,
    )  # fmt: skip
    palette: str = flag(EXPLANATION, "vivid", "colours: " + ", ".join(PALETTES), parse=choice(PALETTES, "palette"))
    output: str | None = flag(
        EXPLANATION, None, "folder for the figures (default: RUN_FOLDER/MODEL_Figures)", parse=expanded
    )
    report: bool = flag(EXPLANATION, False, "also write report.html, one page to explore in a browser")

    def folder(self, settings: Settings, run: RunFolder) -> Path:
        """Where the figures go, by default beside the model they are about."""
        return Path(self.output or run.file(f"{settings.model_name}_Figures"))
