"""The report page: everything in the figures, to explore in a browser, in one file without a server.

Everything is computed in Python (heatmaps, trees, prediction sets, layout); the page only paints what `ReportBuilder`
collected. Pictures are JPEG; a heatmap is a small transparency mask that the page fills with the feature's colour.
"""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image
from scipy.special import softmax

from architectures.inference import FeatureTable
from configs.files import write_text
from conformal.predictor import ConformalPredictor
from evaluation.class_pages import data_uri
from evaluation.part_purity import UsualPart
from visualization.colours import FeatureColours
from visualization.explainer import Explainer, SeenImage
from visualization.local_explanation import LocalExplanation, level_of
from visualization.representatives import strongest_images
from visualization.tree_layout import Leaf, drawn_leaves, layout, node_activations, node_sizes, tree_with_set

PAGE = Path(__file__).with_name("page")
PICTURE_SIDE = 192  # pixels
HEATMAP_SIDE = 64
PATCH_SIDE = 96
PATCH_SHARE = 0.4  # side of a patch, as a fraction of the image's
PATCHES = 6
TREE_ROWS = 32


class ReportBuilder:
    """Collects the content of one report; in `class_images`, None stands for a class without an image."""

    def __init__(
        self, title: str, explainer: Explainer, colours: FeatureColours, class_images: Mapping[int, SeenImage | None]
    ):
        self.explainer = explainer
        self.colours = colours
        self.seen = {f"class{c}": seen for c, seen in class_images.items() if seen is not None}
        self.pictures = {subject: self.picture(s) for subject, s in self.seen.items()}
        self.page: dict[str, Any] = {
            "title": title,
            "inSet": colours.palette.in_set,
            "outside": colours.palette.outside,
            "classes": [self._class(c) for c in range(len(explainer.class_names))],
            "features": [],
            "comparisons": [],
            "images": [],
            "coverages": [],
            "levels": [],
            "startCoverage": 0.0,
        }

    def add_features(self, dataset, table: FeatureTable, usual_parts: Mapping[int, UsualPart]) -> None:
        """Browser of the features: the classes that use each, its strongest patches and its usual part."""
        for feature in range(self.explainer.weight.shape[1]):
            patches = []
            for row in strongest_images(table, feature, PATCHES):
                picture = self.explainer.picture(dataset[row][0])
                patch = crop_around(picture, table.peaks[row, feature].tolist())
                patches.append({"src": _jpeg(patch, PATCH_SIDE), "class": int(table.labels[row])})
            self.page["features"].append(
                {
                    "colour": self._hex(self.colours.distinct([feature]))[feature],
                    "classes": np.flatnonzero(self.explainer.weight[:, feature]).tolist(),
                    "patches": patches,
                    "usualPart": str(usual_parts[feature]) if feature in usual_parts else None,
                }
            )

    def add_comparison(
        self,
        classes: Sequence[int],
        columns: Sequence[int],
        *,
        expected: Mapping[int, Mapping[int, int]],
        right_part: str,
        trust: str,
    ) -> None:
        """Comparison of classes.

        Args:
            columns: features in the figure's order.
            expected: for every class, see `SeenImage.marks`.
            right_part: the part on which a peak has to lie for a tick.
            trust: a sentence on how far the features can be trusted.
        """
        for c in classes:
            self._add_heatmaps(f"class{c}", columns)
        marks = {c: self.seen[f"class{c}"].marks(expected[c]) for c in classes if f"class{c}" in self.seen}
        truth = {"marks": marks, "rightPart": right_part, "trust": trust}
        self.page["comparisons"].append(self.comparison(classes, columns) | truth)

    def comparison(self, classes: Sequence[int], columns: Sequence[int]) -> dict:
        """The page's data on a comparison of classes."""
        return {
            "classes": list(classes),
            "columns": list(columns),
            "colours": self._hex(self.colours.distinct(columns)),
        }

    def set_coverages(self, predictor: ConformalPredictor, coverages: Sequence[float], start: float) -> None:
        """The slider's positions, the level of the hierarchy at each (if there is one), and where it starts."""
        levels = [level for c in coverages if (level := level_of(predictor, c)) is not None]
        self.page |= {"coverages": list(coverages), "levels": levels, "startCoverage": start}

    def add_image(self, explanation: LocalExplanation, label: int | None) -> None:
        """Add an explained image; arguments as in `image`."""
        subject = f"image{len(self.page['images'])}"
        columns, _ = explanation.columns
        self.pictures[subject] = self.picture(explanation.seen, columns)
        for c in explanation.classes:
            self._add_heatmaps(f"class{c}", columns)
        self.page["images"].append(self.image(explanation, subject, label))

    def image(self, explanation: LocalExplanation, subject: str, label: int | None) -> dict:
        """The page's data on one image; `label` is its true class, if known."""
        seen, (columns, _) = explanation.seen, explanation.columns
        sets = explanation.sets(self.page["coverages"])
        distinct = list(dict.fromkeys(sets))
        return {
            "name": explanation.name,
            "subject": subject,
            "label": label,
            "predicted": seen.predicted,
            "probability": round(float(softmax(seen.logits)[seen.predicted]), 4),
            "columns": columns,
            "colours": self._hex(self.colours.distinct(columns)),
            "nearest": explanation.classes,
            "sets": [sorted(s, key=lambda c: -seen.logits[c]) for s in distinct],
            "trees": [self._tree(explanation, s) for s in distinct if self.page["levels"]],
            "setOfCoverage": [distinct.index(s) for s in sets],
        }

    def picture(self, seen: SeenImage, features: Iterable[int] = ()) -> dict:
        """The page's data of a picture, with the heatmaps of some features."""
        features = list(features)
        heat = {f: _mask(seen.heatmap(f, HEATMAP_SIDE)) for f in features}
        return {
            "src": _jpeg(seen.picture, PICTURE_SIDE),
            "heat": heat,
            "marks": seen.marks(),
            "squares": self.explainer.squares(seen, features),
        }

    def write(self, path: Path) -> None:
        """Write the page."""
        page = {**self.page, "pictures": self.pictures}
        # "</script" would end the script element that holds the data, and "<!--" would change how it is parsed.
        data = json.dumps(page, separators=(",", ":")).replace("<", "\\u003c")
        # The data come last, as they may contain the name of a placeholder.
        parts = {"CSS": read("paint.css"), "SCRIPTS": read("paint.js", "report.js"), "REPORT": data}
        write_text(path, filled("report.html", parts))

    def _class(self, c: int) -> dict:
        features = self.explainer.class_features(c)
        self._add_heatmaps(f"class{c}", features)
        return {
            "name": self.explainer.class_names[c],
            "features": list(features),
            "weights": list(features.values()),
            "colours": self._hex(self.colours.distinct(list(features))),
        }

    def _add_heatmaps(self, subject: str, features: Iterable[int]) -> None:
        if subject in self.seen:
            picture, seen = self.pictures[subject], self.seen[subject]
            heat, features = picture["heat"], list(features)
            picture["squares"].update(self.explainer.squares(seen, features))
            heat.update({f: _mask(seen.heatmap(f, HEATMAP_SIDE)) for f in features if f not in heat})

    def _tree(self, explanation: LocalExplanation, prediction_set: frozenset[int]) -> dict:
        logits = explanation.seen.logits
        tree = tree_with_set(explanation.activations, logits, self.explainer.weight, prediction_set)
        nodes, rows = layout(drawn_leaves(tree, logits, prediction_set, TREE_ROWS))
        activations = node_activations(tree)
        sizes = node_sizes(activations, nodes)

        def node(path: tuple[int, ...], row: float) -> dict:
            active, size = activations.get(path, 0.0), sizes.get(path, 0.0)
            return {"path": list(path), "row": row, "activation": active, "size": size}

        def end(leaf: Leaf, row: int) -> dict:
            label, classes = leaf.label(self.explainer.class_names), list(leaf.classes)
            place = {"path": list(leaf.path), "row": row}
            return {**place, "label": label, "classes": classes, "inSet": leaf.in_set}

        return {
            "nodes": [node(path, row) for path, row in nodes.items()],
            "leaves": [end(leaf, row) for leaf, row in rows],
        }

    @staticmethod
    def _hex(colours) -> dict[int, str]:
        return {feature: to_hex(colour) for feature, colour in colours.items()}


def read(*names: str) -> str:
    """Files of the report's page, one after the other: template, style or scripts."""
    return "".join((PAGE / name).read_text(encoding="utf-8") for name in names)


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template of the page, in which parts replace their placeholders, `__NAME__`, in this order."""
    text = read(template)
    for name, part in parts.items():
        text = text.replace(f"__{name}__", part)
    return text


def write_index(folder: Path, title: str, figures: Sequence[tuple[str, Path]]) -> Path:
    """A page that shows all figures of a folder (caption, file); returns its path."""
    entries = []
    for caption, path in figures:
        name, text = html.escape(path.name), html.escape(caption)
        shown = text if path.suffix == ".pdf" else f'<img src="{name}" alt="{text}" loading="lazy">'
        entries.append(f'<figure><figcaption>{text}</figcaption><a href="{name}">{shown}</a></figure>')
    index = folder / "index.html"
    parts = {"TITLE": html.escape(title), "FIGURES": "\n".join(entries)}
    write_text(index, filled("index.html", parts))
    return index


def crop_around(picture: np.ndarray, peak: Sequence[float]) -> np.ndarray:
    """The square around a peak (row, column, as fractions), shifted inside the picture if needed."""
    height, width = picture.shape[:2]
    side = round(PATCH_SHARE * min(height, width))
    top = min(max(round(peak[0] * height - side / 2), 0), height - side)
    left = min(max(round(peak[1] * width - side / 2), 0), width - side)
    return picture[top : top + side, left : left + side]


def _jpeg(picture: np.ndarray, side: int) -> str:
    image = Image.fromarray(np.round(255 * picture).astype(np.uint8)).resize((side, side))
    return data_uri(image, "JPEG", quality=82)


def _mask(heat: np.ndarray) -> str:
    """A heatmap as the transparency of an image."""
    alpha = Image.fromarray(np.round(255 * heat).astype(np.uint8))
    return data_uri(Image.merge("LA", (Image.new("L", alpha.size), alpha)), "PNG", optimize=True)
