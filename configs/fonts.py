"""Figures: one style on every machine, fonts for class names in any script, and figures that may fail."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.font_manager import findfont, fontManager, get_font

from configs.errors import RunError
from configs.script import warn_once

log = logging.getLogger(__name__)

MAIN_FONT = "DejaVu Sans"  # comes with matplotlib
# Fonts that systems come with for characters the main font lacks, Chinese, Japanese and Korean above all.
FURTHER_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans CJK KR",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Noto Sans",
    "Arial Unicode MS",
)


@contextmanager
def optional_figure(what: str) -> Iterator[None]:
    """A context in which a figure that cannot be drawn is only a warning; a file that cannot be written is an error."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        log.warning("%s could not be drawn (%s: %s).", what, type(error).__name__, error)


def prepare_fonts(names: Iterable[str]) -> None:
    """Set the style of figures, and warn once about characters of the names that no installed font has.

    A user's matplotlibrc (LaTeX, a dark theme) is for their own figures. Names are not formulas: a `$` is drawn.
    """
    matplotlib.rcdefaults()
    matplotlib.rcParams["text.parse_math"] = False
    installed = {font.name for font in fontManager.ttflist}
    families = [MAIN_FONT, *(name for name in FURTHER_FONTS if name in installed)]
    matplotlib.rcParams["font.family"] = families
    fonts = [get_font(findfont(family)) for family in families]
    unknown = [
        character
        for character in sorted(set("".join(names)))
        if character.isprintable() and not any(font.get_char_index(ord(character)) for font in fonts)
    ]
    if unknown:
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        warn_once(
            log,
            f"No installed font shows {''.join(unknown[:10])} in class names; figures show boxes. Install one, such as "
            "Noto Sans CJK.",
        )
