"""All classes in one tree, by the features that they share.

Classes that share the most features are joined first (average linkage). Beside every joint are the features that all
classes to its right have and that do not appear to its left.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from visualization.figure import FONT, SMALL_FONT, SMALLEST_FONT, WIDTH, cut_text

MOST_CLASSES = 400  # a taller figure cannot be read
MARGIN = 0.1  # inches, like every length below
ROW = 0.21
NAMES = 2.5
AXIS = 0.55
LEAF_STEP = 10  # from one leaf to the next, in the units of scipy's dendrogram
LINE, FEATURE = "#808080", "#00509d"


def class_tree(weight: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Figure of the tree of all classes.

    Args:
        weight: class-feature weights `[C, n_features]`; a feature with a negative weight does not count as the same
            feature with a positive weight.
        class_names: names by class, 2 to `MOST_CLASSES` of them.
    """
    members = np.hstack([weight > 0, weight < 0])
    joints, most = joints_of(members, optimal_ordering=True)
    height = ROW * len(weight) + AXIS
    figure = Figure(figsize=(WIDTH, height))
    width = WIDTH - NAMES - 2 * MARGIN
    axes = figure.add_axes((MARGIN / WIDTH, AXIS / height, width / WIDTH, 1 - AXIS / height))
    drawn = dendrogram(
        joints,
        orientation="left",
        labels=[cut_text(name, NAMES, SMALL_FONT) for name in class_names],
        leaf_font_size=SMALL_FONT,
        color_threshold=0,
        above_threshold_color=LINE,
        ax=axes,
    )
    features = range(weight.shape[1])
    names = [str(f) for f in features] + [f"−{f}" for f in features]
    _name_features(axes, joints, members, names, drawn["leaves"])
    axes.set_xlim(most, 0)
    axes.set_xticks(range(most + 1), map(str, range(most, -1, -1)), fontsize=SMALL_FONT)
    axes.set_xlabel("features in common (mean over pairs)", fontsize=FONT)
    axes.spines[["left", "right", "top"]].set_visible(False)
    figure.text(
        1 - MARGIN / WIDTH, MARGIN / height, "blue: shared by all on the right",
        ha="right", va="bottom", fontsize=SMALL_FONT, color=FEATURE,
    )  # fmt: skip
    return figure


def joints_of(members: np.ndarray, **options) -> tuple[np.ndarray, int]:
    """The joints of classes by the features that they share, and the largest number of features of a class.

    Args:
        members: whether a class has a feature, `[C, n]` bool.
        options: of scipy's `linkage`.

    Returns:
        As `linkage`, `[C - 1, 4]`; a distance is this largest number less the mean number of shared features.
    """
    shared = members.astype(int) @ members.T.astype(int)
    most = int(shared.max())
    distance = most - shared
    np.fill_diagonal(distance, 0)
    return linkage(squareform(distance), "average", **options), most


def _name_features(axes: Axes, joints: np.ndarray, members: np.ndarray, names: list[str], leaves: list[int]) -> None:
    """Write beside every joint the features that its classes have in common and its parent's classes do not."""
    common = list(members)  # features of every node: leaves, then joints
    rows = [(leaves.index(c) + 0.5) * LEAF_STEP for c in range(len(members))]
    for one, other, *_ in joints:
        common.append(common[int(one)] & common[int(other)])
        rows.append((rows[int(one)] + rows[int(other)]) / 2)
    parent = {int(child): len(members) + i for i, joint in enumerate(joints) for child in joint[:2]}
    for node, joint in enumerate(joints, start=len(members)):
        new = common[node] & ~common[parent[node]] if node in parent else common[node]
        axes.annotate(
            ", ".join(names[f] for f in np.flatnonzero(new)), (joint[2], rows[node]), (-3, 1),
            textcoords="offset points", ha="right", va="bottom", fontsize=SMALLEST_FONT, color=FEATURE,
        )  # fmt: skip
