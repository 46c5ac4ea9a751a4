"""The drawn birds: what their classes promise, that parts are where they are said to be, and the cache."""

import hashlib

import numpy as np
import pytest
from fake_datasets import load

from dataset_classes import synthetic_birds
from dataset_classes.bird_drawing import draw_bird
from dataset_classes.bird_parts import LOOKS, PART_NAMES
from dataset_classes.bird_scene import Scene
from dataset_classes.synthetic_birds import (
    CLASS_PARTS,
    SEED,
    SPECIES,
    SPLITS,
    SyntheticBirds,
    contact_sheet,
    draw_specimen,
    one_hot_looks,
)


@pytest.fixture
def few(monkeypatch):
    """Two images per class, so that a test draws 192 birds and not 3840."""
    monkeypatch.setattr(synthetic_birds, "IMAGES_PER_CLASS", 2)


def test_classes_are_distinct_and_each_family_differs_from_its_first_species_in_one_part():
    assert len(np.unique(CLASS_PARTS, axis=0)) == len(SPECIES) == 48
    for first in range(0, len(SPECIES), 4):
        differing = (CLASS_PARTS[first : first + 4] != CLASS_PARTS[first]).sum(axis=1)
        assert differing.tolist() == [0, 1, 1, 1]


def test_every_look_occurs():
    for part, looks in enumerate(LOOKS.values()):
        assert set(CLASS_PARTS[:, part]) == set(range(len(looks)))


WORDS = {
    "Red-crested": "red crest", "Blue-hooded": "blue hood", "Black-capped": "black cap", "Gold-plumed": "gold plumes",
    "Hookbill": "hook", "Spearbill": "spear", "Conebill": "cone", "Spoonbill": "spoon", "Spotted": "spotted",
    "Striped": "striped", "Rose-breasted": "rose", "Cream-breasted": "cream", "Fork-tailed": "fork",
    "Fan-tailed": "fan", "Ribbon-tailed": "ribbon", "Stub-tailed": "stub", "Violet-winged": "violet",
    "Green-winged": "green", "Flame-winged": "flame", "Bar-winged": "barred",
}  # fmt: skip


def test_names_tell_the_truth():
    for name, looks in SPECIES.items():
        assert all(WORDS[word] in looks for word in name.split())


def test_attributes_count_shared_looks():
    attributes = one_hot_looks(CLASS_PARTS)
    assert attributes.shape == (48, sum(map(len, LOOKS.values())))
    np.testing.assert_array_equal(attributes @ attributes.T, (CLASS_PARTS[:, None] == CLASS_PARTS[None]).sum(2))


def test_the_drawing_is_the_one_all_results_were_measured_on():
    """A change of any pixel, place or visibility needs a new VERSION of the dataset, and new results."""
    digest = hashlib.sha256()
    for s in range(8):
        looks = [s % 4, (s + 1) % 4, s // 2 % 4, 3 * s % 4, (s + 2) % 4]
        bird = draw_bird(looks, 48, np.random.default_rng(s))
        for array in (bird.image, bird.locations, bird.visible):
            digest.update(array.tobytes())
    assert digest.hexdigest().startswith("c70efa128bd879b3")


@pytest.mark.parametrize("part", range(len(PART_NAMES)))
def test_a_look_changes_the_image_around_its_part(part):
    """Only the part's own surroundings change with its look, and all looks differ there."""
    images = []
    for look in range(4):
        looks = [0, 0, 0, 0, 0]
        looks[part] = look
        images.append(draw_bird(looks, 64, np.random.default_rng(3)))
    x, y = (images[0].locations[part] * 64).astype(int)
    for i in range(4):
        for j in range(i):
            change = np.abs(images[i].image.astype(int) - images[j].image).max(2) > 40
            assert change.sum() >= 15
            nearest = np.abs(np.argwhere(change) - [y, x]).sum(1).min()
            assert nearest <= 8


@pytest.mark.parametrize("seed", range(6))
def test_part_centres_lie_on_the_part(seed, monkeypatch):
    """The centre's pixel belongs to the part: the part map says so when nothing covers it."""
    maps = []
    monkeypatch.setattr("dataset_classes.bird_drawing.draw_clutter", lambda scene, _: maps.append(scene))
    rng = np.random.default_rng(seed)
    bird = draw_bird(rng.integers(0, 4, 5), 64, rng)
    part_map = np.asarray(maps[0].part_map)
    assert ((bird.locations > 0) & (bird.locations < 1)).all()
    assert bird.visible.all()
    for part, (x, y) in enumerate(bird.locations, start=1):
        assert part_map[int(y * len(part_map)), int(x * len(part_map))] == part


def test_a_covered_part_is_not_visible(monkeypatch):
    def cover_tail(scene: Scene, locations):
        corner = np.linalg.inv(scene.pose) @ (locations[4] * scene.pixels - scene.origin)
        scene.shape(corner + 0.6 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]), (0, 90, 0))

    monkeypatch.setattr("dataset_classes.bird_drawing.draw_clutter", cover_tail)
    assert not draw_bird([0, 0, 0, 0, 3], 64, np.random.default_rng(0)).visible[4]


def test_dataset_knows_its_parts(tmp_path, few):
    splits = load("SyntheticBirds", tmp_path)
    for data in (splits.train, splits.test):
        assert len(data) == 96
        assert data.part_locations.shape == (96, 5, 2)
        assert data.part_visibility.shape == (96, 5)
        assert data.part_visibility.dtype == bool
        assert data[0][0].shape == (3, 32, 32)
    assert splits.train.classes == list(SPECIES)
    assert not np.array_equal(splits.train.image(0), splits.test.image(0))
    pixels = np.stack([splits.train_unaugmented[i][0].numpy() for i in range(96)])
    np.testing.assert_allclose(pixels.mean((0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(pixels.std((0, 2, 3)), 1, atol=1e-3)


def test_a_swapped_look_changes_its_part_and_nothing_else(tmp_path, monkeypatch):
    """Pose, background and clutter stay: all change lies near the part, and one image shows every other look."""
    monkeypatch.setattr(synthetic_birds, "IMAGES_PER_CLASS", 1)
    birds = SyntheticBirds(tmp_path, "test", img_size=32)
    swapped = birds.swapped_looks()
    assert swapped.shape == (48, 5, 3) and len(swapped) == 720
    beaks = np.stack([swapped.image(3 + i) for i in range(3)]).astype(int)  # of the first bird
    changed = np.abs(beaks - np.asarray(birds.image(0))).max(3) > 40
    assert changed.any((1, 2)).all()
    row, column = changed.any(0).nonzero()
    x, y = birds.part_locations[0, 1] * 32
    assert np.hypot(row - y, column - x).max() < 10


def test_images_are_drawn_once(tmp_path, few, monkeypatch):
    first = SyntheticBirds(tmp_path, "train", img_size=32)
    monkeypatch.setattr(synthetic_birds, "generate", lambda size: pytest.fail("drawn again"))
    np.testing.assert_array_equal(SyntheticBirds(tmp_path, "train", img_size=32).image(3), first.image(3))


def test_another_version_is_drawn_anew(tmp_path, few, monkeypatch):
    SyntheticBirds(tmp_path, "train", img_size=32)
    drawn = []
    generate = synthetic_birds.generate
    monkeypatch.setattr(synthetic_birds, "VERSION", synthetic_birds.VERSION + 1)
    monkeypatch.setattr(synthetic_birds, "generate", lambda size: drawn.append(size) or generate(size))
    SyntheticBirds(tmp_path, "train", img_size=32)
    assert drawn == [32]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text"])
def test_a_bad_cache_is_drawn_again(tmp_path, few, damage):
    first = SyntheticBirds(tmp_path, "test", img_size=32)
    (cache,) = (tmp_path / "SyntheticBirds").iterdir()
    content = bytearray(cache.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
        cache.write_bytes(content)
    else:
        cache.write_bytes({"truncated": content[: len(content) // 2], "text": b"birds"}[damage])
    again = SyntheticBirds(tmp_path, "test", img_size=32)
    np.testing.assert_array_equal(again.image(5), first.image(5))
    np.testing.assert_array_equal(again.part_locations, first.part_locations)


def test_contact_sheet_shows_every_species():
    sheet = np.asarray(contact_sheet(per_class=1, img_size=32))
    rows = np.lib.stride_tricks.sliding_window_view(sheet, (1, 32, 3)).squeeze()  # [H, W - 31, 32, 3]
    for label in range(len(SPECIES)):
        bird = draw_specimen(label, 32, (SEED, len(SPLITS), label)).image
        (y,), (x,) = (rows == bird[16]).all(axis=(-2, -1)).nonzero()
        np.testing.assert_array_equal(sheet[y - 16 : y + 16, x : x + 32], bird)
