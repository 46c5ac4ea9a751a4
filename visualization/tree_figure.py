"""The picture of an explanation tree (CHiQPM, arXiv 2511.20779, figure 2)."""

from collections.abc import Sequence, Set

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path

from visualization.colours import NEUTRAL, Colour, Palette, ink_on
from visualization.figure import FONT, SMALL_FONT, cut_text, page, text_width
from visualization.tree_layout import drawn_leaves, layout, node_activations

MARGIN = 0.08  # inches, like every length below
STEP = 0.62  # from one feature to the next
ROW = 0.3
HEADER = 0.34
LEGEND = 0.38
LONGEST_NAME = 4.5  # what is longer is cut
SMALLEST, LARGEST = 0.09, 0.145  # radii of nodes


def tree_figure(
    tree: nx.DiGraph,
    logits: np.ndarray,
    *,
    prediction_set: Set[int],
    coverage: float,
    level: int,
    class_names: Sequence[str],
    colours: dict[int, Colour],
    palette: Palette,
) -> Figure:
    """Figure of one image's tree: the prediction in bold, the branches of its prediction set coloured.

    Args:
        tree: from `explanation_tree`; holds every class of the prediction set.
        logits: `[C]`.
        prediction_set: classes in the set at `coverage`.
        coverage: asked fraction of images whose set holds the true class.
        level: the deepest whose classes cover as often on the calibration images (`HierarchicalPredictor.level`).
        class_names: names by class.
        colours: RGB of the features that other figures show; the others are drawn in grey.
        palette: colours of the branches.
    """
    predicted = tree.graph["predicted"]
    activations = node_activations(tree)
    nodes, rows = layout(drawn_leaves(tree, logits, prediction_set))

    def weight_of(leaf) -> str:
        return "bold" if predicted in leaf.classes else "normal"

    def x_of(depth: int) -> float:
        return MARGIN + 0.08 + depth * STEP

    def y_of(row: float) -> float:
        return HEADER + (row + 0.5) * ROW

    named = {leaf.classes[0] for leaf, _ in rows}
    names = {c: cut_text(class_names[c], LONGEST_NAME, FONT) for c in named}
    labels = [leaf.label(names) for leaf, _ in rows]
    ends = [
        x_of(len(leaf.path) + 1) + 0.06 + text_width(label, FONT, weight_of(leaf))
        for (leaf, _), label in zip(rows, labels, strict=True)
    ]
    legend = _legend_entries(len(prediction_set), coverage, palette)
    legend_width = sum(0.55 + text_width(text, SMALL_FONT) for text, _, _ in legend)
    width = max(*ends, MARGIN + legend_width) + MARGIN
    figure, axes = page(width, HEADER + len(rows) * ROW + LEGEND)

    reached = {
        leaf.path[:depth] for leaf, _ in rows if leaf.in_set for depth in range(len(leaf.path) + 1)
    }
    edges = [(path[:-1], nodes[path], len(path), path in reached) for path in nodes if path]
    edges += [(leaf.path, row, len(leaf.path) + 1, leaf.in_set) for leaf, row in rows]
    for parent, row, depth, in_set in sorted(edges, key=lambda edge: edge[-1]):
        start = (x_of(depth - 1), y_of(nodes[parent]))
        _draw_branch(axes, start, (x_of(depth), y_of(row)), in_set, palette)
    strongest = max((activations[path] for path in nodes if path), default=1.0)
    axes.add_patch(Circle((x_of(0), y_of(nodes[()])), 0.05, color="black", zorder=3))
    for path, row in nodes.items():
        if path:
            share = np.sqrt(activations[path] / strongest)
            colour = colours.get(path[-1], NEUTRAL)
            _draw_node(axes, x_of(len(path)), y_of(row), path[-1], share, colour)
    for (leaf, row), label in zip(rows, labels, strict=True):
        x = x_of(len(leaf.path) + 1) + 0.06
        ink = "black" if leaf.named else "#505050"
        axes.text(
            x, y_of(row), label, size=FONT, weight=weight_of(leaf), color=ink, va="center_baseline"
        )
    _draw_levels(axes, x_of, max((len(path) for path in nodes), default=0), level)
    _draw_legend(axes, legend, HEADER + len(rows) * ROW + LEGEND / 2)
    return figure


def _draw_branch(axes: Axes, start, end, in_set: bool, palette: Palette) -> None:
    middle = (start[0] + end[0]) / 2
    curve = Path(
        [start, (middle, start[1]), (middle, end[1]), end],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    axes.add_patch(
        PathPatch(
            curve,
            fill=False,
            edgecolor=palette.in_set if in_set else palette.outside,
            linewidth=3.2 if in_set else 1.4,
            zorder=2 if in_set else 1,
            gid="branch",
        )
    )


def _draw_node(axes: Axes, x: float, y: float, feature: int, share: float, colour: Colour) -> None:
    radius = SMALLEST + (LARGEST - SMALLEST) * share
    axes.add_patch(Circle((x, y), radius, facecolor=colour, edgecolor="white", zorder=3))
    size = FONT - 2
    size *= min(1.0, 1.55 * radius / text_width(str(feature), size))
    axes.text(
        x,
        y,
        str(feature),
        size=size,
        color=ink_on(colour),
        va="center_baseline",
        ha="center",
        zorder=4,
    )


def _draw_levels(axes: Axes, x_of, deepest: int, level: int) -> None:
    """How many features are shared at each depth; the level that still covers in bold."""
    for depth in range(1, deepest + 1):
        bold = depth == level
        axes.text(
            x_of(depth),
            HEADER / 2,
            f"n={depth}",
            size=SMALL_FONT,
            weight="bold" if bold else "normal",
            color="black" if bold else "#505050",
            va="center",
            ha="center",
        )


def _legend_entries(size: int, coverage: float, palette: Palette):
    classes = "class" if size == 1 else "classes"
    return [
        (f"prediction set at {100 * coverage:.4g} % ({size} {classes})", palette.in_set, 3.2),
        ("other classes", palette.outside, 1.4),
    ]


def _draw_legend(axes: Axes, entries, y: float) -> None:
    x = MARGIN
    for text, colour, linewidth in entries:
        axes.plot([x, x + 0.28], [y, y], color=colour, linewidth=linewidth)
        axes.text(x + 0.36, y, text, size=SMALL_FONT, va="center_baseline")
        x += 0.55 + text_width(text, SMALL_FONT)
