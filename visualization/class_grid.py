"""Images beside the heatmaps of their features: one row per image, one column per feature.

With one row per class it is the global comparison of classes, with one row for a single image the
local heatmap strip (QPM, arXiv 2502.20130; CHiQPM, arXiv 2511.20779).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

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


@dataclass(frozen=True)
class GridRow:
    """One image and what its features see in it.

    Attributes:
        label: name beside the row.
        image: RGB in [0, 1], `[H, W, 3]`.
        heatmaps: `{feature: [H, W] in [0, 1]}`.
        weights: nonzero weights of the row's class, `{feature: weight}`.
        bold: whether the name is set in bold.
    """

    label: str
    image: np.ndarray
    heatmaps: dict[int, np.ndarray]
    weights: dict[int, float] = field(default_factory=dict)
    bold: bool = False


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
    """
    columns = len(features) + 1
    cell = min(LARGEST_CELL, (WIDTH - 2 * MARGIN - LABEL - 2 * LINE) / columns - GAP)
    names = [fit_text(row.label, cell, max_lines=4) for row in rows]
    label = LABEL + LINE * max(name.count("\n") * size / FONT for name, size in names)
    top = MARGIN + HEADER + (BRACKET if groups else 0)
    width = 2 * MARGIN + label + columns * (cell + GAP)
    height = top + len(rows) * (cell + GAP) + LEGEND
    figure, axes = page(width, height)

    lefts = [MARGIN + label + i * (cell + GAP) for i in range(columns)]
    left_of = dict(zip(features, lefts[1:], strict=True))
    _draw_brackets(axes, groups, left_of, cell)
    for feature in features:
        _draw_number(axes, feature, colours[feature], left_of[feature] + cell / 2, top - HEADER / 2)
    axes.text(
        lefts[0] + cell, top - HEADER / 2, "Feature", size=FONT, va="center_baseline", ha="right"
    )

    signed = any(weight < 0 for row in rows for weight in row.weights.values())
    for i, (row, (name, size)) in enumerate(zip(rows, names, strict=True)):
        y = top + i * (cell + GAP)
        weight = "bold" if row.bold else "normal"
        x = MARGIN + label / 2
        axes.text(
            x,
            y + cell / 2,
            name,
            size=size,
            weight=weight,
            rotation=90,
            va="center",
            ha="center",
        )
        _draw_cell(axes, row.image, lefts[0], y, cell)
        for feature in features:
            picture = overlay(row.image, row.heatmaps[feature], colours[feature])
            _draw_cell(axes, picture, left_of[feature], y, cell)
            if feature in row.weights:
                _mark_assigned(
                    axes, row.weights[feature], signed, colours[feature], left_of[feature], y, cell
                )
    explanation = "peak colour = activation / active mean;  coloured frame = feature of the class"
    if left_out:
        explanation = (
            f"strongest {len(features)} of {len(features) + left_out} features;  " + explanation
        )
    _draw_legend(
        axes, [colours[f] for f in features], lefts, height - LEGEND + 0.03, cell, explanation
    )
    return figure


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


def _draw_legend(axes: Axes, colours, lefts, y: float, cell: float, explanation: str) -> None:
    """Under every column the scale of its colour, in the figure's last line what it measures."""
    bar = 0.09
    for colour, x in zip(colours, lefts[1:], strict=True):
        scale = overlay(np.ones((1, 64, 3)), np.linspace(0, 1, 64)[None], colour)
        axes.imshow(scale, extent=(x, x + cell, y + bar, y), aspect="auto")
        axes.add_patch(Rectangle((x, y), cell, bar, fill=False, edgecolor=FRAME, linewidth=0.5))
    scale_name, size = fit_text(
        "certainty 0–1", lefts[0] + cell - MARGIN, max_lines=1, largest=SMALL_FONT
    )
    axes.text(lefts[0] + cell, y + bar / 2, scale_name, size=size, va="center", ha="right")
    axes.text(
        lefts[-1] + cell,
        y + bar + 0.08,
        explanation,
        size=fit_text(explanation, lefts[-1] + cell - MARGIN, max_lines=1, largest=SMALL_FONT)[1],
        va="top",
        ha="right",
    )
