"""Parts and looks: what one look of every part looks like from classes and maps alone."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from birds_of_parts import NAMES, OF_LOOKS, birds, classes_with, presence
from torch.nn.functional import one_hot

from configs.recipes import GroupsRecipe, PartsRecipe
from configs.settings import parse_settings
from sparsification.features import DenseFeatures
from sparsification.parts import PartSearch
from sparsification.parts.alternatives import Group
from sparsification.parts.looks import LookClustering, Part, distinct_choices
from sparsification.select import quadratic_program


def find_parts(scenes, n_parts):
    return PartSearch(scenes, GroupsRecipe(), PartsRecipe()).find(n_parts)


def clustering(seen, others):
    return LookClustering(seen, others, 4, GroupsRecipe().commonest, PartsRecipe())


def columns(parts):
    """The sets of classes of all looks, sorted."""
    return sorted(tuple(c) for part in parts for c in part.one_hot().T.int().tolist())


def features_of(parts):
    return {feature: part.looks == look for part in parts for look, feature in enumerate(part.features.tolist())}


EVERY_LOOK = sorted(map(tuple, OF_LOOKS.T.astype(int).tolist()))


@pytest.mark.parametrize("missing", [(), ("cone",), ("cone", "rose")])
def test_every_look_is_found_also_those_that_no_feature_stands_for(missing):
    scenes = birds(presence(**dict.fromkeys(missing, np.zeros(len(OF_LOOKS)))))
    parts = find_parts(scenes, 5)
    assert columns(parts) == EVERY_LOOK
    found = features_of(parts)
    assert len(found) == len(NAMES)
    for look in set(NAMES) - set(missing):
        assert (found[NAMES.index(look)] == classes_with(look)).all()


def test_a_group_that_misses_a_look_without_leaving_it_over_is_no_part_to_begin_with():
    """Rose bellies show a little of the three others: these seem a whole part, if an unclear one."""
    belly = {look: OF_LOOKS[:, NAMES.index(look)] for look in ("cream", "spotted", "striped")}
    shares = 0.2 * OF_LOOKS[:, NAMES.index("rose")]
    belly = {look: own + shares for look, own in belly.items()}
    shown = presence(**dict.fromkeys(("rose", "barred", "fan"), np.zeros(len(OF_LOOKS))), **belly)
    assert columns(find_parts(birds(shown), 5)) == EVERY_LOOK


def test_the_clearest_parts_come_first():
    scenes = birds(presence(cone=np.zeros(len(OF_LOOKS))))
    parts = find_parts(scenes, 3)
    beak = {NAMES.index(look) for look in ("hook", "spear", "spoon")}
    assert len(parts) == 3 and not beak & set(features_of(parts))


def test_two_classes_never_have_the_same_looks():
    """Of classes that seem alike, the surer one keeps its looks, and the other one gets what it has next."""
    first = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    second = torch.tensor([[0.9, 0.1], [0.9, 0.1], [1.0, 0.0]])
    assert distinct_choices([first, second]).tolist() == [[0, 0], [0, 1], [1, 0]]


def test_a_look_that_meets_only_one_look_of_another_group_is_of_the_same_part():
    """Four features of one group, three of another, in 16 classes: freely combined, or one within the first."""
    first = torch.eye(4).repeat_interleave(4, dim=0)
    free = torch.eye(4).repeat(4, 1)[:, :3]
    within = first[:, :1] * free[:, :1]  # of the first group's looks it meets one in four
    one, other = Group(0.0, (0, 1, 2, 3), None), Group(0.0, (4, 5, 6), None)
    assert one.is_combined_freely(other, torch.cat([first, free], dim=1))
    assert not one.is_combined_freely(other, torch.cat([first, within, free[:, 1:]], dim=1))


def test_looks_are_neither_rare_nor_bound_to_looks_of_another_part():
    head, wing = (torch.from_numpy(OF_LOOKS[:, first : first + 4]).argmax(dim=1) for first in (0, 8))
    heads = clustering(torch.zeros(48, 1), [Part(wing, torch.arange(8, 12))])
    assert heads.is_possible(head)
    rare = head.where(head != 3, 2)
    rare[:2] = 3
    assert not heads.is_possible(rare)
    assert not heads.is_possible(wing)


def test_clusters_begin_with_the_looks_of_groups_as_well():
    """Where classes differ more by what is not a look, those that differ most are no good start."""
    looks, others = torch.arange(48) % 4, [Part(torch.arange(48) // 12, torch.arange(4))]
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(48, 40)))
    seen = torch.cat([1.5 * torch.eye(4)[looks], noise], dim=1).double()
    right = {}
    for hints in ((), (looks,)):
        found = clustering(seen, others).best(1, list(hints))
        right[len(hints)] = one_hot(found.looks, 4).T @ one_hot(looks, 4)
    assert right[0].amax(dim=1).sum() < 24 and right[1].diagonal().sum() > 43


@pytest.mark.parametrize(
    ("n_features", "n_per_class", "said"),
    [
        (20, 5, "Selection by parts: 5 were found, with 20 looks in all. Every look gets one feature."),
        (24, 5, "Selection by the quadratic program: 5 parts with 20 looks were found."),
        (16, 5, "Selection by the quadratic program: 5 parts with 20 looks were found."),
        (20, 4, "Selection by the quadratic program: 4 parts with 16 looks were found."),
        (20, 6, "Selection by the quadratic program: 5 parts with 20 looks were found."),
    ],
)
def test_other_numbers_of_features_are_left_to_the_program(monkeypatch, caplog, n_features, n_per_class, said):
    caplog.set_level("INFO")
    chosen = SimpleNamespace(selected=np.arange(3), weight=np.eye(3))
    monkeypatch.setattr("sparsification.select.solve", lambda problem, **how: chosen)
    flags = {"dataset": "SyntheticBirds", "n_features": n_features, "n_per_class": n_per_class}
    settings, *_ = parse_settings([f"--{name}={value}" for name, value in flags.items()], "")
    layer = quadratic_program(settings, features_of_birds())
    assert caplog.messages == [said]
    by_program = layer.selection.tolist() == [0, 1, 2]
    assert by_program == ((n_features, n_per_class) != (20, 5))
    if not by_program:
        assert sorted(map(tuple, layer.weight.T.int().tolist())) == EVERY_LOOK


def features_of_birds():
    scenes = birds(presence())
    n = scenes.pooled.shape[1]
    return DenseFeatures(scenes.pooled, scenes.labels, torch.zeros(n), torch.zeros(n), torch.eye(n), scenes)


def test_too_few_classes_show_no_parts():
    scenes = birds(presence()[:27])
    assert find_parts(scenes, 5) == []


def test_classes_without_looks_show_no_parts():
    rng = np.random.default_rng(0)
    pairs = np.array(list(combinations(range(12), 2)))[rng.permutation(66)[:48]]
    shown = torch.zeros(48, 40)
    shown[torch.arange(48)[:, None], torch.from_numpy(pairs)] = 0.9
    assert find_parts(birds(shown), 5) == []
