"""A page measured in inches, the text that fits on it, and the files it is saved to.

Figures are laid out for a width of 7 inches (both columns of a paper). Fonts are large enough to be read if the figure
is printed half as wide, in one column.
"""

import logging
import textwrap
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from configs.files import write_atomically

WIDTH = 7.0  # inches
FONT = 12.5  # points: about 6 when printed in one column
SMALL_FONT = 10.5
SMALLEST_FONT = 9.5
LEAST_FONT = 5.0  # for a word that cannot be broken; a longer one is cut
DPI = 300
FORMATS = ("png", "svg", "pdf")
# Letters are as wide as measured, text stays text in vector files, and equal figures give equal files.
FILE_STYLE: dict[Any, Any] = {
    "text.hinting": "none", "svg.fonttype": "none", "svg.hashsalt": "figure", "pdf.fonttype": 42
}  # fmt: skip
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every table of a PDF's fonts


def page(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure with one invisible axes in inches, the origin at the top left."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def text_width(text: str, size: float = FONT, weight: str = "normal") -> float:
    """Width of one line of text in inches."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight))
    return np.ptp(path.vertices[:, 0]) / 72  # from control points: slightly too wide, but fast


def fit_text(
    text: str, width: float, max_lines: int, largest: float = FONT, weight: str = "normal"
) -> tuple[str, float]:
    """The text, broken into as few lines as are readable within a width in inches, and its font size."""
    for n_lines in range(1, max_lines + 1):
        length = len(text) if n_lines == 1 else len(text) // n_lines + 4
        broken = "\n".join(textwrap.wrap(text, max(1, length), break_long_words=False, break_on_hyphens=False))
        widest = max(text_width(line, weight=weight) for line in broken.split("\n"))
        size = min(largest, FONT * width / max(widest, 1e-6))
        if size >= SMALLEST_FONT:
            break
    if size < LEAST_FONT:
        broken = "\n".join(cut_text(line, width, LEAST_FONT, weight) for line in broken.split("\n"))
    return broken, max(size, LEAST_FONT)


def cut_text(text: str, width: float, size: float, weight: str = "normal") -> str:
    """The text in one line, shortened by an ellipsis if it does not fit a width in inches."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    while len(shown) > 2 and text_width(shown, size, weight) > width:
        shown = shown[:-2].rstrip() + "…"
    return shown


def save(figure: Figure, stem: Path, formats: Iterable[str]) -> list[Path]:
    """Write `stem.FORMAT` for every format; returns the paths."""
    paths = []
    for kind in formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with matplotlib.rc_context(FILE_STYLE):
            write_atomically(path, partial(figure.savefig, format=kind, dpi=DPI, metadata=metadata))
        paths.append(path)
    return paths
