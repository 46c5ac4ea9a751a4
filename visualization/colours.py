"""Colours of features and branches, the same in every figure of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Palette:
    """Colours that can be told apart at a glance."""

    features: tuple[str, ...]  # colours of features, most distinct first
    in_set: str  # branches of the prediction set
    outside: str = "#8a8a8a"  # all other branches


PALETTES = {
    "vivid": Palette(
        features=(
            *("#e6001a", "#00b400", "#1f1fff", "#e0c800", "#ff00ff", "#ff8000"),
            *("#00c8d2", "#5a005a", "#8b4513", "#008c78", "#ff6eb4", "#7a8c00"),
        ),
        in_set="#28c828",
    ),
    # Okabe and Ito (2008), without black and grey, then three of Paul Tol's muted scheme.
    "colour-blind": Palette(
        features=(
            *("#d55e00", "#0072b2", "#f0e442", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
            *("#332288", "#882255", "#999933"),
        ),
        in_set="#0072b2",
    ),
}
# For features without a heatmap in a figure.
NEUTRAL: Colour = to_rgb("#c8c8c8")


class FeatureColours:
    """The colours of a run's features.

    Every feature has a home colour, chosen such that features of one class rarely share one. It has this colour in
    every figure, unless another feature of the same figure took it first.

    Args:
        weight: class-feature weights, `[C, n]`.
    """

    def __init__(self, weight: np.ndarray, palette: str = "vivid"):
        self.palette = PALETTES[palette]
        self.home = _home_colours(np.asarray(weight), len(self.palette.features))

    def distinct(self, features: Sequence[int]) -> dict[int, Colour]:
        """A different colour for each feature of a figure; neutral grey once the palette is used up."""
        free = list(range(len(self.palette.features)))
        colours = {}
        for feature in features:
            colour = self.home[feature] if self.home[feature] in free else next(iter(free), None)
            if colour is not None:
                free.remove(colour)
            colours[feature] = NEUTRAL if colour is None else to_rgb(self.palette.features[colour])
        return colours


def ink_on(colour: Colour) -> str:
    """Black or white, whichever is read more easily on a colour."""
    return "black" if np.dot(colour, (0.299, 0.587, 0.114)) > 0.5 else "white"


def _home_colours(weight: np.ndarray, n_colours: int) -> list[int]:
    """Index of every feature's colour: the most used features choose first, each avoiding its companions' colours."""
    assigned = (weight != 0).astype(int)
    together = assigned.T @ assigned  # (n, n) in how many classes two features meet
    home = np.full(len(together), -1)
    for feature in np.argsort(-together.diagonal(), kind="stable"):
        meetings = [together[feature, home == colour].sum() for colour in range(n_colours)]
        crowding = [(home == colour).sum() for colour in range(n_colours)]
        home[feature] = min(range(n_colours), key=lambda c: (meetings[c], crowding[c]))
    return home.tolist()
