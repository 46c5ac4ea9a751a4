"""Images are known by what they hold, and what was read once is not read again while nothing changed."""

import os

import pytest
from fake_datasets import load, make_cub
from PIL import Image

from dataset_classes import contents as module
from dataset_classes.contents import contents
from dataset_classes.cub import CUB2011


@pytest.fixture(autouse=True)
def files_need_not_be_old(monkeypatch):
    monkeypatch.setattr(module, "SETTLED_NS", -(10**18))


@pytest.fixture
def reads(monkeypatch):
    """The paths of files that are read."""
    found, read = [], module.read_content
    monkeypatch.setattr(module, "read_content", lambda path: found.append(path) or read(path))
    return found


def some_files(folder):
    for i in range(5):
        (folder / f"{i}.tif").write_bytes(bytes([i]) * 100_000)
    return [str(folder / f"{i}.tif") for i in range(5)]


def test_the_second_time_is_free(tmp_path, reads):
    paths = some_files(tmp_path)
    first = contents(paths, tmp_path)
    assert contents(paths, tmp_path) == first
    assert sorted(reads) == sorted(paths)


def test_any_byte_counts_and_times_that_are_set_back_do_not_hide_it(tmp_path):
    paths = some_files(tmp_path)
    before = contents(paths, tmp_path)
    status = os.stat(paths[2])
    with open(paths[2], "r+b") as file:
        file.seek(99_999)
        file.write(b"!")
    os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    changed = [a != b for a, b in zip(before, contents(paths, tmp_path), strict=True)]
    assert changed == [False, False, True, False, False]


def test_what_changed_a_moment_ago_is_not_remembered(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(module, "SETTLED_NS", 10**12)
    paths = some_files(tmp_path)
    contents(paths, tmp_path)
    contents(paths, tmp_path)
    assert len(reads) == 2 * len(paths)


@pytest.mark.parametrize("damage", [b"", b"half", b"0\n{}", None])
def test_a_damaged_cache_is_read_again(tmp_path, cache_folder, reads, damage):
    paths = some_files(tmp_path)
    first = contents(paths, tmp_path)
    (file,) = cache_folder.rglob("*.json")
    content = file.read_bytes()
    digest = first[0].digest.encode()
    file.write_bytes(content.replace(digest, b"f" * 32) if damage is None else damage)
    assert contents(paths, tmp_path) == first


def test_no_home_is_no_error(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("dataset_classes.remembered.cache_folder", lambda: None)
    assert len(contents(some_files(tmp_path), tmp_path)) == 5


def test_a_repainted_bird_and_another_box_are_other_datasets(tmp_path):
    root = make_cub(tmp_path)
    cub = root / CUB2011.folder
    before = load("CUB2011", root).fingerprints()
    Image.new("RGB", (40, 30), "white").save(cub / "images/001.Black_footed_Albatross/image_0.jpg")
    repainted = load("CUB2011", root).fingerprints()
    assert repainted["train"] != before["train"]
    assert repainted["test"] == before["test"]
    boxes = cub / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("1 10.0", "1 11.0", 1))
    assert load("CUB2011", root).fingerprints()["train"] != repainted["train"]
