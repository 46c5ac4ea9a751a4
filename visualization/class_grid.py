"""Images beside the heatmaps of their features: one row per image, one column per feature.

With one row per class it is the global comparison of classes, with one row for a single image the
local heatmap strip (QPM, arXiv 2502.20130; CHiQPM, arXiv 2511.20779).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke

from visualization.colours import Colour
from visualization.figure import FONT, SMALL_FONT, WIDTH, cut_text, fit_text, page, text_width
from visualization.heatmaps import overlay

MARGIN = 0.06  # inches, like every length below
LABEL = 0.27  # first line of a row's name
LINE = 0.19  # every further line
HEADER = 0.3  # feature numbers
BRACKET = 0.27  # what a group of columns has in common
LEGEND = 0.42
GAP = 0.05
LARGEST_CELL = 1.15
LARGEST_CAPTION = 1.9
FRAME = "#b4b4b4"
TICK, CROSS = "\N{CHECK MARK}", "\N{BALLOT X}"
RIGHT_PART = "the part that causes the feature"
RIGHT, WRONG = "#007d00", "#c80000"


@dataclass(frozen=True)
class GridRow:
    """One image and what its features see in it.

    Attributes:
        label: name beside the row.
        image: RGB in [0, 1], `[H, W, 3]`.
        heatmaps: `{feature: [H, W] in [0, 1]}`.
        weights: nonzero weights of the row's class, `{feature: weight}`.
        bold: whether the name is set in bold.
        marks: whether a feature's peak lies on the right part, where that is known.
        squares: what the cell under a feature's peak can see, where that is not the whole image: left, top, right,
            bottom as fractions of the image.
    """

    label: str
    image: np.ndarray
    heatmaps: dict[int, np.ndarray]
    weights: dict[int, float] = field(default_factory=dict)
    bold: bool = False
    marks: dict[int, bool] = field(default_factory=dict)
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

    A coloured frame marks the features that the row's class is made of; for signed weights the sign
    is written into it.

    Args:
        rows: from top to bottom.
        features: columns from left to right.
        colours: RGB of every column's feature.
        groups: captions over neighbouring columns.
        left_out: how many weaker features of the classes have no column.
        notes: the part on which a feature usually lies, and how often, under its number.
        right_part: on which part a peak has to lie for a tick.
    """
    columns = len(features) + 1
    cell = min(LARGEST_CELL, (WIDTH - 2 * MARGIN - LABEL - 2 * LINE) / columns - GAP)
    names = [fit_text(row.label, cell, max_lines=4) for row in rows]
    label = LABEL + LINE * max(name.count("\n") * size / FONT for name, size in names)
    notes = notes or {}
    numbers = MARGIN + (BRACKET if groups else 0) + HEADER / 2
    shown = {f: fit_text(n, cell, max_lines=2, largest=SMALL_FONT) for f, n in notes.items()}
    top = (
        numbers + HEADER / 2 + LINE * max((t.count("\n") + 1 for t, _ in shown.values()), default=0)
    )
    width = 2 * MARGIN + label + columns * (cell + GAP)
    legend = _legend(rows, len(features), left_out, bool(notes), right_part)
    height = top + len(rows) * (cell + GAP) + LEGEND + LINE * (len(legend) - 1)
    figure, axes = page(width, height)

    lefts = [MARGIN + label + i * (cell + GAP) for i in range(columns)]
    left_of = dict(zip(features, lefts[1:], strict=True))
    _draw_brackets(axes, groups, left_of, cell)
    for feature in features:
        middle = left_of[feature] + cell / 2
        _draw_number(axes, feature, colours[feature], middle, numbers)
        if feature in shown:
            text, size = shown[feature]
            axes.text(middle, top - 0.03, text, size=size, va="bottom", ha="center", linespacing=1)
    axes.text(lefts[0] + cell, numbers, "Feature", size=FONT, va="center_baseline", ha="right")

    signed = any(weight < 0 for row in rows for weight in row.weights.values())
    for i, (row, (name, size)) in enumerate(zip(rows, names, strict=True)):
        y = top + i * (cell + GAP)
        weight = "bold" if row.bold else "normal"
        x = MARGIN + label / 2
        axes.text(
            x, y + cell / 2, name, size=size, weight=weight, rotation=90, va="center", ha="center"
        )
        _draw_cell(axes, row.image, lefts[0], y, cell)
        for feature in features:
            picture = overlay(row.image, row.heatmaps[feature], colours[feature])
            _draw_cell(axes, picture, left_of[feature], y, cell)
            corner = (left_of[feature], y)
            if feature in row.squares:
                _draw_square(axes, row.squares[feature], corner, cell)
            if feature in row.marks:
                _draw_mark(axes, row.marks[feature], corner, cell)
            if feature in row.weights:
                _mark_assigned(
                    axes, row.weights[feature], signed, colours[feature], left_of[feature], y, cell
                )
    bottom = top + len(rows) * (cell + GAP)
    _draw_legend(axes, [colours[f] for f in features], lefts, bottom + 0.03, cell, legend)
    return figure


def _legend(
    rows: Sequence[GridRow], n_features: int, left_out: int, noted: bool, right_part: str
) -> list[str]:
    """The lines under the figure: what its marks mean."""
    shown = f"strongest {n_features} of {n_features + left_out} features;  " if left_out else ""
    lines = [
        f"{shown}peak colour = activation / active mean;  coloured frame = feature of the class"
    ]
    if any(row.squares for row in rows):
        lines.append("dashed square = all that the feature can see where it is strongest")
    if any(row.marks for row in rows):
        lines.append(f"{TICK} {CROSS} = is the peak on {right_part}?")
    if noted:
        lines.append("part and % = where the feature's peak lies most often on held-out images")
    return lines


def _draw_square(axes: Axes, square, corner: tuple[float, float], cell: float) -> None:
    left, top, right, bottom = square
    place = (corner[0] + left * cell, corner[1] + top * cell)
    size = ((right - left) * cell, (bottom - top) * cell)
    for colour, style in (("white", "solid"), ("black", (0, (3, 2)))):
        axes.add_patch(
            Rectangle(place, *size, fill=False, edgecolor=colour, linewidth=0.9, linestyle=style)
        )


def _draw_mark(axes: Axes, right: bool, corner: tuple[float, float], cell: float) -> None:
    axes.text(
        corner[0] + cell - 0.04,
        corner[1] + 0.03,
        TICK if right else CROSS,
        size=FONT,
        weight="bold",
        color=RIGHT if right else WRONG,
        va="top",
        ha="right",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def _draw_cell(axes: Axes, picture, x: float, y: float, cell: float) -> None:
    axes.imshow(picture, extent=(x, x + cell, y + cell, y), aspect="auto", interpolation="bilinear")
    axes.add_patch(Rectangle((x, y), cell, cell, fill=False, edgecolor=FRAME, linewidth=0.6))


def _mark_assigned(axes: Axes, weight, signed, colour, x, y, cell) -> None:
    inset = 0.012
    side = cell - 2 * inset
    axes.add_patch(
        Rectangle((x + inset, y + inset), side, side, fill=False, edgecolor=colour, linewidth=1.5)
    )
    if signed:
        axes.text(
            x + 0.05,
            y + 0.04,
            "+" if weight > 0 else "−",
            size=FONT,
            weight="bold",
            va="top",
            ha="left",
        )


def _draw_number(axes: Axes, feature: int, colour: Colour, x: float, y: float) -> None:
    width = text_width(str(feature))
    axes.add_patch(Circle((x - width / 2 - 0.06, y), 0.07, color=colour, linewidth=0))
    axes.text(x + 0.06, y, str(feature), size=FONT, va="center_baseline", ha="center")


def _draw_brackets(axes: Axes, groups: Sequence[ColumnGroup], left_of, cell: float) -> None:
    free = MARGIN  # left of it other captions are
    for group in groups:
        lefts = [left_of[feature] for feature in group.features]
        start, end = min(lefts), max(lefts) + cell
        y = MARGIN + BRACKET - 0.06
        axes.plot(
            [start, start, end, end], [y + 0.05, y, y, y + 0.05], color="#505050", linewidth=1
        )
        # A caption that is wider than its columns extends to the left, where there is room.
        room = min(max(end - start, LARGEST_CAPTION), end - free)
        caption = cut_text(group.caption, room, SMALL_FONT)
        right = min(end, (start + end + text_width(caption, SMALL_FONT)) / 2)
        axes.text(right, y - 0.05, caption, size=SMALL_FONT, ha="right")
        free = right + 4 * GAP


def _draw_legend(axes: Axes, colours, lefts, y: float, cell: float, lines: Sequence[str]) -> None:
    """Under every column the scale of its colour, in the figure's last lines what it shows."""
    bar = 0.09
    for colour, x in zip(colours, lefts[1:], strict=True):
        scale = overlay(np.ones((1, 64, 3)), np.linspace(0, 1, 64)[None], colour)
        axes.imshow(scale, extent=(x, x + cell, y + bar, y), aspect="auto")
        axes.add_patch(Rectangle((x, y), cell, bar, fill=False, edgecolor=FRAME, linewidth=0.5))
    scale_name, size = fit_text(
        "certainty 0–1", lefts[0] + cell - MARGIN, max_lines=1, largest=SMALL_FONT
    )
    axes.text(lefts[0] + cell, y + bar / 2, scale_name, size=size, va="center", ha="right")
    room = lefts[-1] + cell - MARGIN
    for i, line in enumerate(lines):
        axes.text(
            lefts[-1] + cell,
            y + bar + 0.08 + i * LINE,
            line,
            size=fit_text(line, room, max_lines=1, largest=SMALL_FONT)[1],
            va="top",
            ha="right",
        )
