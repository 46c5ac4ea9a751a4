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
from visualization.tree_layout import Leaf, drawn_leaves, layout, node_activations, node_sizes

MARGIN = 0.08  # inches, like every length below
STEP = 0.62  # from one feature to the next
ROW = 0.3
HEADER = 0.34
LEGEND = 0.38
LINE = 0.21  # every further line of the legend
LONGEST_NAME = 4.5  # longer names are cut
SMALLEST, LARGEST = 0.09, 0.145  # radii of nodes

Nodes = dict[tuple[int, ...], float]  # rows or sizes of the nodes, by their paths


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
        coverage: targeted fraction of images whose set holds the true class.
        level: the deepest that reaches this coverage on the calibration images (`HierarchicalPredictor.level`).
        colours: RGB of the features that other figures show; others are drawn in grey.
    """
    predicted = tree.graph["predicted"]
    nodes, rows = layout(drawn_leaves(tree, logits, prediction_set))
    named = {leaf.classes[0] for leaf, _ in rows}
    names = {c: cut_text(class_names[c], LONGEST_NAME, FONT) for c in named}
    labels = [(leaf.label(names), "bold" if predicted in leaf.classes else "normal") for leaf, _ in rows]
    lefts = [_x(len(leaf.path) + 1) + 0.06 for leaf, _ in rows]
    ends = [x + text_width(text, FONT, w) for x, (text, w) in zip(lefts, labels, strict=True)]
    legend = _legend_entries(len(prediction_set), coverage, palette)
    deepest = max(len(path) for path in nodes)
    notes = _notes(deepest, level, coverage, grey=any(path and path[-1] not in colours for path in nodes))
    legend_width = sum(0.55 + text_width(text, SMALL_FONT) for text, _, _ in legend)
    widest = max(legend_width, *(text_width(note, SMALL_FONT) for note in notes))
    bottom = HEADER + len(rows) * ROW
    figure, axes = page(max(*ends, MARGIN + widest) + MARGIN, bottom + LEGEND + LINE * len(notes))
    _draw_branches(axes, nodes, rows, palette)
    _draw_nodes(axes, nodes, node_sizes(node_activations(tree), nodes), colours)
    for (leaf, row), x, (text, weight) in zip(rows, lefts, labels, strict=True):
        ink = "black" if leaf.named else "#505050"
        axes.text(x, _y(row), text, size=FONT, weight=weight, color=ink, va="center_baseline")
    _draw_levels(axes, deepest, level)
    _draw_legend(axes, legend, notes, bottom + LEGEND / 2)
    return figure


def _x(depth: int) -> float:
    return MARGIN + 0.08 + depth * STEP


def _y(row: float) -> float:
    return HEADER + (row + 0.5) * ROW


def _draw_branches(axes: Axes, nodes: Nodes, rows: Sequence[tuple[Leaf, int]], palette: Palette) -> None:
    """Branches from every node to its children; those that lead to the prediction set are drawn on top."""
    in_set = [leaf.path for leaf, _ in rows if leaf.in_set]
    reached = {path[:depth] for path in in_set for depth in range(len(path) + 1)}
    branches = [(path[:-1], nodes[path], len(path), path in reached) for path in nodes if path]
    branches += [(leaf.path, row, len(leaf.path) + 1, leaf.in_set) for leaf, row in rows]
    for parent, row, depth, leads_to_set in sorted(branches, key=lambda branch: branch[-1]):
        start = (_x(depth - 1), _y(nodes[parent]))
        _draw_branch(axes, start, (_x(depth), _y(row)), leads_to_set, palette)


def _draw_nodes(axes: Axes, nodes: Nodes, sizes: Nodes, colours: dict[int, Colour]) -> None:
    """The root, and features whose area shows their activation."""
    axes.add_patch(Circle((_x(0), _y(nodes[()])), 0.05, color="black", zorder=3))
    for path, size in sizes.items():
        colour = colours.get(path[-1], NEUTRAL)
        _draw_node(axes, _x(len(path)), _y(nodes[path]), path[-1], size, colour)


def _draw_branch(axes: Axes, start, end, in_set: bool, palette: Palette) -> None:
    middle = (start[0] + end[0]) / 2
    curve = Path(
        [start, (middle, start[1]), (middle, end[1]), end], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
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
    axes.text(x, y, str(feature), size=size, color=ink_on(colour), va="center_baseline", ha="center", zorder=4)


def _draw_levels(axes: Axes, deepest: int, level: int) -> None:
    """The number of shared features at each depth, in bold at `level`."""
    for depth in range(1, deepest + 1):
        bold = depth == level
        axes.text(
            _x(depth),
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


def _notes(deepest: int, level: int, coverage: float, *, grey: bool) -> list[str]:
    """The further lines of the legend."""
    unseen = "; grey = no heatmap shown" if grey else ""
    covers = f", in bold the most that still cover {100 * coverage:.4g} %" if 1 <= level <= deepest else ""
    return [f"larger circle = more active feature{unseen}", f"n = features shared{covers}"]


def _draw_legend(axes: Axes, entries, notes: Sequence[str], y: float) -> None:
    for i, note in enumerate(notes, start=1):
        axes.text(MARGIN, y + i * LINE, note, size=SMALL_FONT, va="center_baseline")
    x = MARGIN
    for text, colour, linewidth in entries:
        axes.plot([x, x + 0.28], [y, y], color=colour, linewidth=linewidth)
        axes.text(x + 0.36, y, text, size=SMALL_FONT, va="center_baseline")
        x += 0.55 + text_width(text, SMALL_FONT)
