"""Images beside the heatmaps of their features: one row per image, one column per feature.

With one row per class it is the global comparison of classes, with a single row the heatmaps of a local explanation
(QPM, arXiv 2502.20130; CHiQPM, arXiv 2511.20779).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke

from visualization.colours import Colour
from visualization.figure import FONT, SMALL_FONT, WIDTH, fit_text, page, text_width
from visualization.heatmaps import overlay

MARGIN = 0.06  # inches, like every length below
LABEL = 0.27  # first line of a row's name
LINE = 0.19  # every further line
HEADER = 0.3  # feature numbers
DESCENT = 0.07  # from the last line of a note to the cells
BRACKET = 0.27  # first line of the caption of a group of columns
LEGEND = 0.42
GAP = 0.05
LARGEST_CELL = 1.15
FRAME = "#b4b4b4"
TICK, CROSS = "\N{CHECK MARK}", "\N{BALLOT X}"
RIGHT_PART = "the part that causes the feature"
RIGHT, WRONG = "#007d00", "#c80000"


@dataclass(frozen=True)
class GridRow:
    """One image and the heatmaps of its features."""

    label: str  # name beside the row
    image: np.ndarray  # RGB in [0, 1], [H, W, 3]
    heatmaps: dict[int, np.ndarray]  # `{feature: [H, W] in [0, 1]}`
    weights: dict[int, float] = field(default_factory=dict)  # nonzero weights of the row's class, `{feature: weight}`
    bold: bool = False
    # Whether a feature's peak lies on the right part, if that is known
    marks: dict[int, bool] = field(default_factory=dict)
    # Receptive field of the cell under a feature's peak, if it is not the whole image: left, top, right, bottom as
    # fractions of the image
    squares: dict[int, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnGroup:
    """Neighbouring columns with a common caption."""

    caption: str
    features: tuple[int, ...]


def class_grid(
    rows: Sequence[GridRow],
    features: Sequence[int],
    colours: dict[int, Colour],
    groups: Sequence[ColumnGroup] = (),
    left_out: int = 0,
    notes: Mapping[int, str] | None = None,
    right_part: str = RIGHT_PART,
) -> Figure:
    """Figure of the rows' images and heatmaps, with feature numbers and the scale of the colours.

    A coloured frame marks the features that the row's class is made of; for signed weights the sign is written into it.

    Args:
        left_out: how many weaker features of the classes have no column.
        notes: the part on which a feature usually lies, and how often, under its number.
        right_part: the part on which a peak has to lie for a tick.
    """
    notes = notes or {}
    columns = len(features) + 1
    cell = min(LARGEST_CELL, (WIDTH - 2 * MARGIN - LABEL - 2 * LINE) / columns - GAP)
    weights = ["bold" if row.bold else "normal" for row in rows]
    names, name_size = _of_one_size(
        fit_text(row.label, cell - GAP, max_lines=4, weight=w) for row, w in zip(rows, weights, strict=True)
    )
    label = LABEL + LINE * max(name.count("\n") for name in names) * name_size / FONT
    captions, caption_size = _of_one_size(
        fit_text(group.caption, len(group.features) * (cell + GAP) - GAP, max_lines=3, largest=SMALL_FONT)
        for group in groups
    )
    brackets = MARGIN + (BRACKET + LINE * max(text.count("\n") for text in captions) if groups else 0)
    noted, note_size = _of_one_size(fit_text(n, cell, max_lines=2, largest=SMALL_FONT) for n in notes.values())
    header = brackets + HEADER
    top = header + LINE * max((text.count("\n") + 1 for text in noted), default=0)
    bottom = top + len(rows) * (cell + GAP)
    signed = any(weight < 0 for row in rows for weight in row.weights.values())
    legend = _legend(rows, len(features), left_out, signed, bool(notes), right_part)
    width = 2 * MARGIN + label + columns * (cell + GAP)
    figure, axes = page(width, bottom + LEGEND + LINE * (len(legend) - 1))

    lefts = [MARGIN + label + i * (cell + GAP) for i in range(columns)]
    sheet = _Sheet(axes, cell, lefts[0], dict(zip(features, lefts[1:], strict=True)), colours)
    for group, caption in zip(groups, captions, strict=True):
        sheet.draw_bracket(group.features, caption, caption_size, brackets - 0.06)
    sheet.draw_numbers(header - HEADER / 2)
    for feature, text in zip(notes, noted, strict=True):
        x = sheet.left_of[feature] + cell / 2
        axes.text(x, top - DESCENT, text, size=note_size, va="baseline", ha="center", linespacing=1)
    for i, (row, name, weight) in enumerate(zip(rows, names, weights, strict=True)):
        y = top + i * (cell + GAP)
        style: Any = {"size": name_size, "weight": weight, "rotation": 90, "va": "center", "ha": "center"}
        axes.text(MARGIN + label / 2, y + cell / 2, name, **style)
        sheet.draw_row(row, y, signed)
    sheet.draw_legend(bottom + 0.03, legend)
    return figure


def _of_one_size(texts: Iterable[tuple[str, float]]) -> tuple[list[str], float]:
    """Texts and the smallest of their sizes: a larger one would look more important."""
    fitted = list(texts)
    return [text for text, _ in fitted], min((size for _, size in fitted), default=FONT)


def _legend(
    rows: Sequence[GridRow], n_features: int, left_out: int, signed: bool, noted: bool, right_part: str
) -> list[str]:
    """The lines under the figure, which explain its marks."""
    shown = f"strongest {n_features} of {n_features + left_out} features;  " if left_out else ""
    lines = [
        "certainty (colour at the peak) = activation / its mean where present",
        f"{shown}coloured frame = feature of the class" + ("; + or − = sign of its weight" if signed else ""),
    ]
    if any(row.squares for row in rows):
        lines.append("dashed square = all that the feature can see where it is strongest")
    if any(row.marks for row in rows):
        lines.append(f"{TICK} {CROSS} = is the peak on {right_part}?")
    if noted:
        lines.append("part and % = where the feature's peak lies most often on test images")
    return lines


@dataclass(frozen=True)
class _Sheet:
    """A page with a column of cells for the images, and one for every feature."""

    axes: Axes
    cell: float
    image_left: float  # where the cells of the images begin
    left_of: dict[int, float]  # where those of the features begin, from left to right
    colours: dict[int, Colour]

    def draw_bracket(self, features: Sequence[int], caption: str, size: float, y: float) -> None:
        """A bracket with a caption above neighbouring columns."""
        lefts = [self.left_of[feature] for feature in features]
        start, end = min(lefts), max(lefts) + self.cell
        self.axes.plot([start, start, end, end], [y + 0.05, y, y, y + 0.05], color="#505050", linewidth=1)
        self.axes.text((start + end) / 2, y - 0.05, caption, size=size, ha="center", linespacing=1)

    def draw_numbers(self, y: float) -> None:
        """The number of every feature, beside a dot of its colour."""
        for feature, left in self.left_of.items():
            x, dot = left + self.cell / 2, 0.06 + text_width(str(feature)) / 2
            self.axes.add_patch(Circle((x - dot, y), 0.07, color=self.colours[feature], linewidth=0))
            self.axes.text(x + 0.06, y, str(feature), size=FONT, va="center_baseline", ha="center")
        right = self.image_left + self.cell
        self.axes.text(right, y, "Feature", size=FONT, va="center_baseline", ha="right")

    def draw_row(self, row: GridRow, y: float, signed: bool) -> None:
        """An image and its heatmaps, whose cells begin at `y`."""
        self._draw_picture(row.image, self.image_left, y)
        for feature, x in self.left_of.items():
            colour = self.colours[feature]
            self._draw_picture(overlay(row.image, row.heatmaps[feature], colour), x, y)
            if feature in row.squares:
                self._draw_square(row.squares[feature], x, y)
            if feature in row.marks:
                right = row.marks[feature]
                self._draw_sign(
                    TICK if right else CROSS,
                    (x + self.cell - 0.04, y + 0.03),
                    ha="right",
                    color=RIGHT if right else WRONG,
                    path_effects=[withStroke(linewidth=2.5, foreground="white")],
                )
            if feature in row.weights:
                self._draw_frame(x, y, 0.012, edgecolor=colour, linewidth=1.5)
            if feature in row.weights and signed:
                self._draw_sign("+" if row.weights[feature] > 0 else "−", (x + 0.05, y + 0.04))

    def _draw_picture(self, picture: np.ndarray, x: float, y: float) -> None:
        extent = (x, x + self.cell, y + self.cell, y)
        self.axes.imshow(picture, extent=extent, aspect="auto", interpolation="bilinear")
        self._draw_frame(x, y, 0, edgecolor=FRAME, linewidth=0.6)

    def _draw_frame(self, x: float, y: float, inset: float, **style) -> None:
        side = self.cell - 2 * inset
        self.axes.add_patch(Rectangle((x + inset, y + inset), side, side, fill=False, **style))

    def _draw_square(self, square: tuple[float, ...], x: float, y: float) -> None:
        left, top, right, bottom = (edge * self.cell for edge in square)
        for colour, style in (("white", "solid"), ("black", (0, (3, 2)))):
            line: Any = {"edgecolor": colour, "linewidth": 0.9, "linestyle": style}
            place = (x + left, y + top)
            self.axes.add_patch(Rectangle(place, right - left, bottom - top, fill=False, **line))

    def _draw_sign(self, sign: str, corner: tuple[float, float], ha: str = "left", **style) -> None:
        self.axes.text(*corner, sign, size=FONT, weight="bold", va="top", ha=ha, **style)

    def draw_legend(self, y: float, lines: Sequence[str]) -> None:
        """The colour scale under every column, and the lines of the legend under them."""
        bar = 0.09
        for feature, x in self.left_of.items():
            scale = overlay(np.ones((1, 64, 3)), np.linspace(0, 1, 64)[None], self.colours[feature])
            self.axes.imshow(scale, extent=(x, x + self.cell, y + bar, y), aspect="auto")
            line: Any = {"fill": False, "edgecolor": FRAME, "linewidth": 0.5}
            self.axes.add_patch(Rectangle((x, y), self.cell, bar, **line))
        left, right = self.image_left + self.cell, max(self.left_of.values()) + self.cell
        texts = [("certainty 0–1", left, y + bar / 2, "center")]
        texts += [(line, right, y + bar + 0.08 + i * LINE, "top") for i, line in enumerate(lines)]
        for text, x, at, va in texts:
            text, size = fit_text(text, x - MARGIN, max_lines=1, largest=SMALL_FONT)
            self.axes.text(x, at, text, size=size, va=va, ha="right")
