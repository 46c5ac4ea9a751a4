"""Figures: which leaves are drawn and where, colours, columns, representative images."""

import logging
import unicodedata
from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from refusals import refused

from architectures.inference import FeatureTable
from configs.errors import UsageError
from conformal import HierarchicalPredictor
from visualization.class_grid import ColumnGroup, GridRow, class_grid
from visualization.colours import NEUTRAL, PALETTES, FeatureColours
from visualization.comparison import (
    MAX_COLUMNS,
    column_groups,
    comparison_columns,
    find_class,
    local_columns,
    nearest_classes,
)
from visualization.figure import DPI, FILE_STYLE, SMALL_FONT, cut_text, fit_text, page, save, text_width
from visualization.local_explanation import level_of
from visualization.representatives import representative_image, separation
from visualization.tree import explanation_tree
from visualization.tree_figure import tree_figure
from visualization.tree_layout import drawn_leaves, layout, tree_with_set


def random_model(n_classes, n_features=50, n_per_class=5):
    """Distinct classes, and one image's sparse features and logits."""
    rng = np.random.default_rng(0)
    sets = set()
    while len(sets) < n_classes:
        sets.add(tuple(sorted(rng.choice(n_features, n_per_class, replace=False))))
    weight = np.zeros((n_classes, n_features))
    for row, features in zip(weight, sorted(sets), strict=True):
        row[list(features)] = 1
    features = np.maximum(rng.normal(0.2, 1, n_features), 0)
    features[weight[n_classes // 2] > 0] += 1
    return features, weight @ features, weight


def boxes(figure, texts):
    """Where some texts of a figure are drawn in its file, in pixels."""
    figure.set_dpi(DPI)
    renderer = FigureCanvasAgg(figure).get_renderer()
    with matplotlib.rc_context(FILE_STYLE):
        return {text: text.get_window_extent(renderer) for text in texts}


# Trees


@pytest.mark.parametrize("mode", ["exact", "paper"])
@pytest.mark.parametrize("max_rows", [12, 24])
def test_leaves_in_the_set_are_the_predictors_set_at_every_coverage(mode, max_rows):
    rng = np.random.default_rng(1)
    _, _, weight = random_model(40, n_features=12, n_per_class=3)
    labels = torch.from_numpy(rng.integers(0, 40, 300))
    features = torch.from_numpy(np.maximum(rng.normal(0, 1, (300, 12)), 0)) + torch.tensor(weight[labels])
    features[:5] *= features[:5] > 1.5  # images with few active features
    logits = features @ torch.from_numpy(weight).T
    predictor = HierarchicalPredictor(weight, mode).calibrate(features[100:], logits[100:], labels[100:])
    for coverage in (0.5, 0.8, 0.9, 0.95, 0.99):
        sets = predictor.predict(features[:10], logits[:10], coverage)
        for x, s, members in zip(features[:10].numpy(), logits[:10].numpy(), sets, strict=True):
            prediction_set = set(members.nonzero().flatten().tolist())
            tree = tree_with_set(x, s, weight, prediction_set)
            leaves = drawn_leaves(tree, s, prediction_set, max_rows)
            assert {c for leaf in leaves if leaf.in_set for c in leaf.classes} == prediction_set
            assert len(leaves) <= max_rows
            assert s.argmax() in leaves[0].classes and leaves[0].named


def test_every_class_of_the_tree_is_counted_once():
    features, logits, weight = random_model(300)
    tree = explanation_tree(features, logits, weight, scope="global")
    leaves = drawn_leaves(tree, logits, {150, 3}, max_rows=10)
    assert sorted(c for leaf in leaves for c in leaf.classes) == list(range(300))
    assert any(leaf.label(list(map(str, range(300)))).endswith(" more") for leaf in leaves)


def test_leaf_labels_name_the_prediction_and_count_the_merged_classes():
    weight = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0]])
    features = np.array([2.0, 1.0, 0.0, 0.0])
    logits = weight @ features
    leaves = drawn_leaves(explanation_tree(features, logits, weight), logits, {0})
    assert [leaf.label("ABCD") for leaf in leaves] == ["A", "B, +1"]


def drawn_tree(n_classes, scope, colours):
    features, logits, weight = random_model(n_classes)
    figure = tree_figure(
        explanation_tree(features, logits, weight, scope=scope),
        logits,
        prediction_set={n_classes // 2},
        coverage=0.9,
        level=2,
        class_names=[f"Black throated Blue Warbler {c}" for c in range(n_classes)],
        colours=colours,
        palette=PALETTES["vivid"],
    )
    return figure, figure.axes[0]


@pytest.mark.parametrize(("colours", "said"), [({}, True), (dict.fromkeys(range(50), (1.0, 0.0, 0.0)), False)])
def test_the_legend_explains_grey_where_there_is_some(colours, said):
    _, axes = drawn_tree(6, "global", colours)
    assert any("grey" in text.get_text() for text in axes.texts) == said


@pytest.mark.parametrize("n_classes", [6, 1000])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_no_name_lies_over_a_branch_or_another_name(n_classes, scope):
    figure, axes = drawn_tree(n_classes, scope, {})
    box_of = boxes(figure, axes.texts)
    page = figure.bbox
    for box in box_of.values():
        assert page.x0 <= box.x0 and box.x1 <= page.x1 + 1
    assert not any(one.overlaps(other) for one, other in combinations(box_of.values(), 2))
    names = [t for t in axes.texts if "Warbler" in t.get_text() or "more" in t.get_text()]
    branches = [patch for patch in axes.patches if patch.get_gid() == "branch"]
    assert names and branches
    for branch in branches:
        curve = branch.get_transform().transform_path(branch.get_path()).interpolated(1)
        for name in names:
            box = box_of[name]
            points = curve.to_polygons(closed_only=False)[0]
            within = (points > [box.x0, box.y0]) & (points < [box.x1, box.y1])
            assert not within.all(axis=1).any(), name.get_text()


def test_subtrees_fill_neighbouring_rows():
    features, logits, weight = random_model(200)
    tree = explanation_tree(features, logits, weight, scope="global")
    nodes, rows = layout(drawn_leaves(tree, logits, {100}))
    assert [row for _, row in rows] == list(range(len(rows)))
    for node in nodes:
        below = [row for leaf, row in rows if leaf.path[: len(node)] == node]
        assert below == list(range(below[0], below[-1] + 1))


def test_a_tree_without_active_features_still_names_the_prediction():
    _, _, weight = random_model(5)
    tree = tree_with_set(np.zeros(50), np.zeros(5), weight, {0})
    assert drawn_leaves(tree, np.zeros(5), {0})[0].classes == (0,)


# Colours


@pytest.mark.parametrize("palette", PALETTES)
def test_colours_of_a_figure_differ_and_are_the_same_again(palette):
    _, _, weight = random_model(200)
    colours = FeatureColours(weight, palette)
    figure = colours.distinct([4, 17, 23, 42, 8])
    assert len(set(figure.values())) == 5
    assert figure == colours.distinct([4, 17, 23, 42, 8])
    assert colours.distinct([17])[17] == colours.distinct([17, 3])[17]
    many = colours.distinct(range(50))
    assert list(many.values()).count(NEUTRAL) == 50 - len(PALETTES[palette].features)


def test_features_of_one_class_get_different_home_colours_where_possible():
    weight = np.kron(np.eye(4), np.ones((1, 5)))  # 4 classes with 5 features of their own
    home = FeatureColours(weight).home
    assert all(len({home[f] for f in np.flatnonzero(row)}) == 5 for row in weight)


def test_no_level_covers_where_sets_hold_every_class():
    _, _, weight = random_model(4)
    features = torch.from_numpy(weight)
    predictor = HierarchicalPredictor(weight).calibrate(features, features @ features.T, torch.arange(4))
    assert [level_of(predictor, coverage) for coverage in (0.7, 0.9, 1)] == [5, 0, 0]  # 4 images: up to 80 %


# Columns


NAMES = ["Bronzed Cowbird", "Shiny Cowbird", "Crow"]
WEIGHT = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1]])


def test_columns_are_first_only_shared_second_only():
    columns = comparison_columns(WEIGHT, [0, 1])
    assert columns == [0, 1, 2, 3]
    groups = column_groups(WEIGHT, [0, 1], columns, NAMES)
    assert [(g.caption, g.features) for g in groups] == [
        ("only Bronzed Cowbird", (0,)),
        ("shared", (1, 2)),
        ("only Shiny Cowbird", (3,)),
    ]
    assert comparison_columns(WEIGHT, [1, 0]) == [3, 1, 2, 0]


@pytest.mark.parametrize(
    ("names", "headers"),
    [
        (("Audi S4 Sedan 2012", "Audi S4 Sedan 2007"), ("2012", "2007")),
        (("Audi S4 Sedan 2012", "Audi TT Coupe 2012"), ("S4 Sedan 2012", "TT Coupe 2012")),
        (("Audi", "Audi TT"), ("Audi", "Audi TT")),
    ],
)
def test_captions_say_where_the_names_of_a_pair_differ(names, headers):
    groups = column_groups(np.eye(2), [0, 1], [0, 1], names)
    assert [group.caption for group in groups] == [f"only {header}" for header in headers]


def test_too_many_columns_leave_out_the_smallest_weights():
    weight = np.array([[*range(1, 13), 0], [0] * 12 + [-20]])
    columns = comparison_columns(weight, [0, 1])
    assert len(columns) == MAX_COLUMNS and columns[-1] == 12 and 0 not in columns


@pytest.mark.parametrize("text", ["1", "Shiny Cowbird", "shiny_cowbird"])
def test_classes_are_found_by_index_and_name(text):
    assert find_class(text, NAMES) == 1


def test_a_name_as_it_is_comes_before_one_in_another_case():
    names = ["Plain", "plain", "0"]
    assert [find_class(text, names) for text in ("plain", "Plain", "0")] == [1, 0, 2]
    assert find_class("x", ["-x", "0"]) == 0  # what begins with - is a flag
    assert find_class("Größe", ["ant", unicodedata.normalize("NFD", "Größe")]) == 1
    with refused(UsageError, "'PLAIN'", "'Plain', 'plain'"):  # it may be either
        find_class("PLAIN", names)


def test_where_names_are_numbers_an_index_is_not_taken_for_one():
    with refused(UsageError, "there is no class '1'; did you mean '01'? give a name"):
        find_class("1", ["01", "02", "03"])


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("7", "0 to 2"),
        ("-1", "0 to 2"),
        ("²", "there is no class '²'"),
        ("Shiny Cowbrd", "did you mean 'Shiny Cowbird'"),
    ],
)
def test_unknown_classes_are_answered_in_one_line(text, hint):
    with refused(UsageError, match=hint):
        find_class(text, NAMES)


def test_nearest_classes_are_the_set_then_what_shares_most():
    logits = np.array([3.0, 1.0, 2.0])
    assert nearest_classes(logits, WEIGHT, {0}, 2) == [0, 1, 2]
    assert nearest_classes(logits, WEIGHT, {0, 2}, 1) == [0, 2]


# Class grids and files


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_grid_shows_feature_numbers_signs_and_the_scale(tmp_path, caplog, kind):
    caplog.set_level(logging.INFO)  # of scripts
    heat = np.zeros((16, 16))
    row = GridRow("Crow", np.full((16, 16, 3), 0.5), {17: heat, 4: heat}, {17: 0.5, 4: -0.5})
    colours = FeatureColours(np.ones((1, 20))).distinct([17, 4])
    figure = class_grid([row, row], [17, 4], colours)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"17", "4", "Feature", "Crow", "+", "−", "certainty 0–1"} <= set(texts)
    (path,) = save(figure, tmp_path / "sub" / "25_26", [kind])
    assert path.name == f"25_26.{kind}"
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert not caplog.messages


def test_a_text_is_drawn_as_wide_as_it_was_measured():
    figure, axes = page(7.0, 1.0)
    text = axes.text(0, 0.5, "certainty (colour at the peak) = activation / its mean where present", size=SMALL_FONT)
    (box,) = boxes(figure, [text]).values()
    assert box.width / DPI == pytest.approx(text_width(text.get_text(), SMALL_FONT), abs=0.015)


@pytest.mark.parametrize("n_features", [2, 6, 10])
@pytest.mark.parametrize("name", ["Crow", "Chevrolet Silverado 1500 Hybrid Crew Cab 2012"])
def test_every_text_of_a_grid_stays_on_the_page(n_features, name):
    features = range(n_features)
    row = GridRow(name, np.ones((16, 16, 3)), {f: np.zeros((16, 16)) for f in features})
    groups = [ColumnGroup(f"only {name}", (0,)), ColumnGroup("shared", (n_features - 1,))]
    colours = FeatureColours(np.ones((1, n_features))).distinct(features)
    figure = class_grid([row, row], features, colours, groups, left_out=3)
    for box in boxes(figure, figure.axes[0].texts).values():
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
        assert box.y0 >= 0 and box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("name", ["Crow", "Chevrolet Silverado 1500 Hybrid Crew Cab 2012"])
def test_the_caption_of_a_group_lies_above_its_own_columns(name):
    row = GridRow("Crow", np.ones((16, 16, 3)), {f: np.zeros((16, 16)) for f in range(3)})
    captions = (f"only {name}", "shared", f"only {name}")
    groups = [ColumnGroup(caption, (f,)) for f, caption in enumerate(captions)]
    colours = FeatureColours(np.ones((1, 3))).distinct(range(3))
    figure = class_grid([row], range(3), colours, groups)
    axes = figure.axes[0]
    shown = [text for text in axes.texts if text.get_text()[:4] in ("only", "shar")]
    for box, bracket in zip(boxes(figure, shown).values(), axes.lines, strict=True):
        left, *_, right = axes.transData.transform(bracket.get_xydata())[:, 0]
        assert left - 3 <= box.x0 and box.x1 <= right + 3  # a hundredth of an inch


def test_all_names_of_a_grid_are_of_one_size():
    rows = [
        GridRow(name, np.ones((16, 16, 3)), {0: np.zeros((16, 16))}) for name in ("Crow", "Black throated Blue Warbler")
    ]
    texts = class_grid(rows, [0], {0: (1.0, 0.0, 0.0)}).axes[0].texts
    assert len({text.get_size() for text in texts if text.get_rotation() == 90}) == 1


# Representative images


def table(features, logits, labels, peaks):
    features, logits, labels, peaks = map(torch.tensor, (features, logits, labels, peaks))
    return FeatureTable(features, features, labels, logits.argmax(dim=1), peaks, logits, peak_values=features)


TOGETHER, APART = [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.1], [0.9, 0.9]]
TWO_CLASSES = torch.ones(2, 2)


def test_the_representative_is_correct_then_strong_and_spread_out():
    images = table(
        features=[[9.0, 9.0], [1.0, 1.0], [1.0, 1.0], [0.2, 0.2]],
        logits=[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]],
        labels=[0, 0, 0, 0],
        peaks=[APART, TOGETHER, APART, APART],
    )
    means = torch.ones(2)
    assert representative_image(images, TWO_CLASSES, 0, means) == 2
    assert representative_image(images[:1], TWO_CLASSES, 0, means) == 0  # misclassified, but all
    assert representative_image(images, TWO_CLASSES, 1, means) is None


def test_separation_is_the_mean_distance_of_peaks():
    peaks = torch.tensor([[[0.0, 0.0], [0.3, 0.4], [0.0, 0.0]]])
    assert separation(peaks).tolist() == pytest.approx([1.0 / 3])
    assert separation(peaks[:, :1]).tolist() == [0]


def test_names_that_no_figure_can_show_stay_readable():
    broken, size = fit_text("Donaudampfschifffahrt" * 9, width=0.5, max_lines=3)
    assert broken.endswith("…") and size >= 5
    assert cut_text("with\nnewline", 5.0, 10.0) == "with newline"
    broken, size = fit_text("Pelagic Cormorant", width=0.6, max_lines=4, weight="bold")
    assert max(text_width(line, size, "bold") for line in broken.split("\n")) <= 0.601


def test_a_class_of_one_feature_has_one_column():
    columns, groups = local_columns(np.array([0.5, 2.0]), np.eye(2), [1, 0])
    assert (columns, [group.features for group in groups]) == ([1, 0], [(1,), (0,)])
