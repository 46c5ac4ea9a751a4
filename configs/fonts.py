"""Fonts of all figures: class names may be in any script."""

import logging
import warnings
from collections.abc import Iterable

import matplotlib
from matplotlib.font_manager import findfont, fontManager, get_font

from configs.script import warn_once

log = logging.getLogger(__name__)

MAIN_FONT = "DejaVu Sans"  # comes with matplotlib
# What systems bring for what the main font lacks, Chinese, Japanese and Korean above all.
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


def prepare_fonts(names: Iterable[str]) -> None:
    """Let figures fall back on installed fonts, and say once which characters of the names none of them shows."""
    installed = {font.name for font in fontManager.ttflist}
    families = [MAIN_FONT, *(name for name in FURTHER_FONTS if name in installed)]
    matplotlib.rcParams["font.family"] = families
    fonts = [get_font(findfont(family)) for family in families]
    unknown = [
        character
        for character in sorted(set("".join(names)))
        if not any(font.get_char_index(ord(character)) for font in fonts)
    ]
    if unknown:
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        warn_once(
            log,
            "No installed font shows %s in class names; figures show boxes. Install one, such as Noto Sans CJK.",
            "".join(unknown[:10]),
        )
