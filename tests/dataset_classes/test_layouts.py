"""Folders are read as people make them: what is left out or guessed is said, what is doubtful is refused."""

import logging
import os
import shutil
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_datasets import random_image
from PIL import Image
from refusals import refused

from configs.errors import RunError
from configs.script import warn_once
from dataset_classes.folders import Skipped, find_images, image_endings
from dataset_classes.layouts import find_splits


@pytest.fixture(autouse=True)
def warnings_anew():
    """Warnings are said anew in every test."""
    warn_once.cache_clear()


def draw(*parts, n=4, seed=0):
    folder = Path(*map(str, parts))
    for i in range(n):
        random_image(folder / f"{seed}{i}.png", [seed, i, *os.fsencode(folder)])


def counts(root):
    """Training and test images per class; sums where the folder is split here."""
    train, test = find_splits(root)
    return {name: (len(train[name]), len(test.get(name, []))) for name in train}


def both(root):
    return {name: sum(pair) for name, pair in counts(root).items()}


def split(root, train, test, names=("ant", "bee")):
    for name in names:
        draw(root, train, name, n=4)
        draw(root, test, name, n=2, seed=1)


@pytest.mark.parametrize("train", ["train", "Train", "TRAIN", "training", "Training"])
@pytest.mark.parametrize("test", ["test", "Test", "testing", "VAL", "Valid", "validation", "dev", "Eval"])
def test_names_of_splits(tmp_path, train, test):
    split(tmp_path, train, test)
    assert counts(tmp_path) == {"ant": (4, 2), "bee": (4, 2)}


def test_validation_beside_test_is_left_out_and_said(tmp_path, caplog):
    split(tmp_path, "train", "test")
    draw(tmp_path, "val", "ant", seed=2)
    assert counts(tmp_path) == {"ant": (4, 2), "bee": (4, 2)}
    assert "val/ is not used" in caplog.text


FLAT_CLASSES = [
    ("bus", "car", "train"),
    ("valid", "invalid"),
    ("test", "control"),
    ("Training", "match"),
    ("train", "test", "bus"),
]


@pytest.mark.parametrize("names", FLAT_CLASSES)
def test_classes_called_as_splits_are_classes_where_images_lie_in_them(tmp_path, names, caplog):
    for name in names:
        draw(tmp_path, name)
    assert both(tmp_path) == dict.fromkeys(sorted(names), 4)
    assert "taken as classes" in caplog.text


def nested_train(root):
    draw(root, "bus")
    draw(root, "car")
    draw(root, "train", "electric")
    draw(root, "train", "steam")


def nested_test(root):
    draw(root, "bus")
    draw(root, "test", "electric")


def own_names(root):
    split(root, "train_images", "test_images")


def inside(root):
    for name in ("ant", "bee"):
        split(root / name, "train", "test", names=("",))


def twice(root):
    split(root, "train", "test")
    draw(root, "Train", "ant")


DOUBTFUL = {
    "a class train with sub-folders": (nested_train, ("train/", "bus/", "car/")),
    "a class test with sub-folders": (nested_test, ("test/", "bus/")),
    "other names of a split": (own_names, ("train_images/", "test_images/")),
    "other names in camel case": (lambda root: split(root, "TrainSet", "TestSet"), ("TrainSet/", "TestSet/")),
    "other names of a split without class folders": (
        lambda root: (draw(root, "train2017"), draw(root, "val2017")),
        ("train2017/", "val2017/"),
    ),
    "splits inside the classes": (inside, ("ant/train/",)),
    "a folder around the classes": (
        lambda root: (draw(root, "photos", "ant"), draw(root, "photos", "bee")),
        ("--data_root", "photos", "ant, bee"),
    ),
    "a folder around the split": (
        lambda root: split(root / "data", "train", "test"),
        ("--data_root", "data", "test, train"),
    ),
    "pictures and masks": (
        lambda root: (draw(root, "JPEGImages", "ant"), draw(root, "SegmentationClass", "ant")),
        ("JPEGImages/", "SegmentationClass/", "masks"),
    ),
    "two training folders": (twice, ("Train/", "train/")),
    "no training folder": (lambda root: draw(root, "test", "ant"), ("test/", "no train/")),
    "another spelling in the test folder": (
        lambda root: (split(root, "train", "test"), draw(root, "test", "Ant")),
        ("'Ant'", "'ant'"),
    ),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_is_doubtful_is_refused(tmp_path, case):
    make, named = DOUBTFUL[case]
    make(tmp_path)
    with refused(RunError, str(tmp_path), *named):
        find_splits(tmp_path)


def test_folders_of_the_same_names_in_what_may_be_a_split_are_told(tmp_path, caplog):
    split(tmp_path, "trn", "tst")
    assert both(tmp_path) == {"trn": 8, "tst": 4}
    assert "trn/, tst/ hold folders of the same names (ant, bee)" in caplog.text


LEFTOVERS = [
    ".ipynb_checkpoints", "@eaDir", "@EADIR", "#recycle", "__MACOSX", ".AppleDouble", "$RECYCLE.BIN", ".thumbnails",
    "lost+found", ".git", "CHiQPMExplanations", "ClassTree.png",
]  # fmt: skip


@pytest.mark.parametrize("name", LEFTOVERS)
@pytest.mark.parametrize("where", ["", "ant", "ant/2024/May", "train/ant"])
def test_what_other_programs_leave_is_left_out_and_said(tmp_path, where, name, caplog):
    if where.startswith("train"):
        split(tmp_path, "train", "test")
        expected = {"ant": 6, "bee": 6}
    else:
        draw(tmp_path, "ant", "2024", "May")
        draw(tmp_path, "bee")
        expected = {"ant": 4, "bee": 4}
    draw(tmp_path, where, name, "deeper")
    assert both(tmp_path) == expected
    if where:
        assert name in caplog.text


def test_a_run_among_the_images_finished_or_not_adds_none(tmp_path, caplog):
    split(tmp_path, "", "")
    for folder, beside in ((tmp_path / "ant" / "1", "manifest.json"), (tmp_path / "resnet50" / "birds", "images.csv")):
        draw(folder / "Figures")
        draw(folder)
        for name in ("config.json", beside):
            (folder / name).write_text("{}")
    assert both(tmp_path) == {"ant": 6, "bee": 6}
    assert "2 run folder" in caplog.text


def test_other_files_are_counted_by_their_endings(tmp_path, caplog):
    draw(tmp_path, "ant")
    draw(tmp_path, "bee")
    for i in range(3):
        (tmp_path / "ant" / f"{i}.HEIC").write_bytes(b"0")
    (tmp_path / "bee" / "notes.txt").write_text("May")
    (tmp_path / "bee" / "Thumbs.db").write_bytes(b"0")
    (tmp_path / "bee" / "._00.png").write_bytes(b"macOS")
    (tmp_path / "loose.png").write_bytes(b"0")
    assert both(tmp_path) == {"ant": 4, "bee": 4}
    assert "4 file(s) that are no images Pillow can read (3 .heic, 1 .txt)" in caplog.text
    assert "1 Thumbs.db" in caplog.text and "1 ._*" in caplog.text
    assert "1 image(s) in no class folder" in caplog.text


def test_every_format_that_pillow_reads_in_any_case(tmp_path):
    expected = {".jpg", ".jfif", ".png", ".webp", ".tif", ".jp2", ".gif", ".bmp", ".tga", ".ppm"}
    assert expected <= image_endings()
    assert not {".heic", ".txt", ".pdf", ".h5", ".mpg"} & image_endings()
    for ending in expected - {".jp2"}:
        for name in ("a" + ending, "b" + ending.upper()):
            (tmp_path / "ant").mkdir(exist_ok=True)
            kind = Image.registered_extensions()[ending]
            Image.new("RGB", (5, 5), "red").save(tmp_path / "ant" / name, format=kind)
    assert len(find_images(tmp_path, Skipped())) == 2 * len(expected) - 2


def test_links_that_loop_and_pipes_end(tmp_path, caplog):
    draw(tmp_path, "ant")
    draw(tmp_path, "bee")
    (tmp_path / "ant" / "up").symlink_to(tmp_path)
    (tmp_path / "ant" / "self").symlink_to(tmp_path / "ant")
    (tmp_path / "bee" / "round").symlink_to("round")
    os.mkfifo(tmp_path / "bee" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "bee" / "s.png"))
        assert both(tmp_path) == {"ant": 4, "bee": 4}
    assert "2 link(s)" in caplog.text
    assert "2 file(s) that are no regular files" in caplog.text


@contextmanager
def without_rights():
    """Not root, in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if not os.getuid():
            os.seteuid(0)
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
@pytest.mark.parametrize("mode", [0o000, 0o444])
@pytest.mark.parametrize("where", ["bee", "bee/2024"])
def test_a_folder_that_may_not_be_read_is_named(mode, where):
    with without_rights() as root:
        draw(root, "ant")
        draw(root, "bee", "2024")
        (root / where).chmod(mode)
        if not os.getuid():
            os.seteuid(12345)
        with refused(RunError, where, "Permission denied"):
            find_splits(root)


def test_nothing_is_said_of_a_plain_folder_but_the_split(tmp_path, caplog):
    draw(tmp_path, "ant")
    draw(tmp_path, "bee")
    with caplog.at_level(logging.INFO):
        find_splits(tmp_path)
    assert len(caplog.records) == 1


def test_images_in_sub_folders_of_a_class_are_said(tmp_path, caplog):
    for name in ("ant/images", "ant/masks", "bee"):
        draw(tmp_path, name)
    assert both(tmp_path) == {"ant": 8, "bee": 4}
    assert (
        "8 image(s) in sub-folders count as images of the class above them (4 ant/images, 4 ant/masks)" in caplog.text
    )


def test_a_class_folder_called_like_an_image_is_no_image(tmp_path, caplog):
    draw(tmp_path, "a.png")
    draw(tmp_path, "b.png")
    assert both(tmp_path) == {"a.png": 4, "b.png": 4}
    assert "in no class folder" not in caplog.text


def test_packed_files_are_told_and_no_classes(tmp_path, caplog):
    for name in ("ant", "bee"):
        draw(tmp_path, name, n=8)
    (tmp_path / "cat.ZIP").touch()
    (tmp_path / "notes.txt").touch()
    assert both(tmp_path) == {"ant": 8, "bee": 8}
    assert "(1 .zip; unpack what is packed)" in caplog.text and ".txt" not in caplog.text
    with refused(RunError, "cat.ZIP", "unpack"):
        find_splits(tmp_path / "cat.ZIP")
    for name in ("ant", "bee"):
        shutil.rmtree(tmp_path / name)
    with refused(RunError, "No images", "unpack"):
        find_splits(tmp_path)
