"""One folder is split by content: images that come or go move no others, copies are never on both sides."""

import logging
import shutil

import fake_datasets
import numpy as np
import pytest
from fake_datasets import random_image
from PIL import Image
from refusals import refused

from configs.errors import RunError
from dataset_classes.image_list import ImageList
from dataset_classes.registry import warn_of_dark, warn_of_two_labels


def make(root, per_class=20, classes=("ant", "bee", "cat"), first_seed=0):
    for c, name in enumerate(classes):
        for i in range(per_class):
            random_image(root / name / f"{i:02}.png", first_seed + 1000 * c + i)
    return root


def load(root, known=None):
    return fake_datasets.load("ImageFolder", root, known=known)


@pytest.mark.parametrize("seed", range(3))
def test_images_that_come_or_go_move_no_others(tmp_path, seed):
    before = load(make(tmp_path, first_seed=10_000 * seed))
    train, test = set(before.train.paths), set(before.test.paths)
    gone = set()
    for c, name in enumerate(("ant", "bee", "cat", "dog")):
        for i in range(3):
            random_image(tmp_path / name / f"new{i}.png", 7000 + 10_000 * seed + 100 * c + i)
    for name in ("ant", "bee"):
        path = tmp_path / name / "07.png"
        path.unlink()
        gone.add(str(path))
    after = load(tmp_path)
    assert train - gone <= set(after.train.paths)
    assert test - gone <= set(after.test.paths)


@pytest.mark.parametrize(("n", "where"), [(3, ""), (4, ""), (5, "train")])
def test_every_class_keeps_two_for_training_and_one_for_testing(tmp_path, n, where):
    make(tmp_path / where, n, classes=[*"abcdef", "x"])
    splits = load(tmp_path)
    assert np.bincount(splits.train.labels).min() >= 2
    assert np.bincount(splits.test.labels, minlength=7).min() >= 1


def test_copies_are_on_one_side_under_any_name_and_class_and_two_labels_are_told(tmp_path, caplog):
    make(tmp_path)
    for i in range(10):
        shutil.copy(tmp_path / "ant" / f"{i:02}.png", tmp_path / "ant" / f"copy{i}.png")
        shutil.copy(tmp_path / "ant" / f"{i:02}.png", tmp_path / "bee" / f"of ant {i}.png")
    splits = load(tmp_path)
    assert not set(splits.train.digests()) & set(splits.test.digests())
    caplog.clear()
    warn_of_two_labels(splits.train)
    twice = [path for path in splits.train.paths if "of ant" in path]
    assert f"under another label, too: {len(twice)}, the first is {twice[0]}" in caplog.text


@pytest.mark.parametrize(("divisor", "told"), [(1, False), (17, True)])
def test_almost_black_training_images_are_told(tmp_path, caplog, divisor, told):
    make(tmp_path, per_class=12)
    for path in tmp_path.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // divisor).save(path)
    warn_of_dark(load(tmp_path).train)
    assert ("20 of 20 training images that were looked at are almost black" in caplog.text) == told


def test_a_run_keeps_its_split(tmp_path):
    """Also where the rule alone would decide anew: edited in place, renamed, and moved to another class."""
    make(tmp_path / "data", per_class=8)
    first = load(tmp_path / "data")
    first.image_list().write(tmp_path / "images.csv")
    known = ImageList.read(tmp_path / "images.csv")
    assert known == first.image_list()
    trained = first.train.paths
    for seed, path in enumerate(trained[:4]):
        random_image(tmp_path / "data" / path, 50_000 + seed)
    for path in first.test.paths[:2]:
        shutil.move(path, path.replace(".png", "_renamed.png"))
    again = load(tmp_path / "data", known)
    assert set(again.train.paths) == set(trained)
    assert len(again.test) == len(first.test)


def test_test_images_that_were_trained_on_are_told(tmp_path, caplog):
    make(tmp_path / "train")
    make(tmp_path / "test", per_class=4, first_seed=500)
    known = load(tmp_path).image_list()
    shutil.move(tmp_path / "train" / "ant" / "03.png", tmp_path / "test" / "ant" / "moved.png")
    with caplog.at_level(logging.WARNING):
        load(tmp_path, known)
    assert "1 of 13 images were trained on" in caplog.text
    assert "moved.png" in caplog.text


DAMAGED_LISTS = {
    "empty": b"",
    "another table": b"a,b\n1,2\n",
    "unknown split": b"split,digest,file\nvalid," + b"0" * 32 + b",a.png\n",
    "short digest": b"split,digest,file\ntrain,123,a.png\n",
    "binary": b"\x00\xff\xfe",
}


@pytest.mark.parametrize("kind", DAMAGED_LISTS)
def test_a_damaged_list_is_one_clear_line(tmp_path, kind):
    (tmp_path / "images.csv").write_bytes(DAMAGED_LISTS[kind])
    with refused(RunError, "images.csv"):
        ImageList.read(tmp_path / "images.csv")
