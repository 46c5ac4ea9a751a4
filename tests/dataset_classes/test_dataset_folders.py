"""TravelingBirds, ImageNet, and folders of the user's own images."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_datasets import BOX, class_colour, load, make_image_folder, make_imagenet, make_traveling_birds, save_image
from PIL import Image
from refusals import refused
from timm.data import ImageNetInfo

from configs.errors import RunError
from dataset_classes import image_folder
from dataset_classes.imagenet import ImageNet
from dataset_classes.traveling_birds import TravelingBirds

# TravelingBirds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("annotations", ["CUB", "fixed"])
def test_no_traveling_bird_is_on_both_sides(tmp_path, annotations):
    splits = load("TravelingBirds", make_traveling_birds(tmp_path, annotations))
    assert (len(splits.train), len(splits.test)) == (6, 3)
    sides = {"train": splits.train, "test": splits.test}
    birds = {side: {Path(path).name for path in data.paths} for side, data in sides.items()}
    assert not birds["train"] & birds["test"]
    assert all(f"CUB_fixed/{side}" in path for side, data in sides.items() for path in data.paths)
    assert splits.train.classes == ["Black-footed Albatross", "Laysan Albatross", "Crested Auklet"]
    assert splits.test.image(0).size == (BOX[2], BOX[3])
    assert splits.train.mean == (0.4584, 0.4369, 0.3957)


@pytest.mark.parametrize("crop_gt", [True, False])
def test_traveling_birds_without_cubs_split_are_refused(tmp_path, crop_gt):
    root = make_traveling_birds(tmp_path, annotations="none")
    with refused(RunError, "train_test_split.txt", "CUB_fixed", "CUB200/CUB_200_2011"):
        load("TravelingBirds", root, crop_gt=crop_gt)


def test_traveling_birds_takes_the_cropped_copy(tmp_path):
    root = make_traveling_birds(tmp_path)
    for split in ("train", "test"):
        (root / "PPTravelingBirds" / "CUB_fixed").mkdir(parents=True, exist_ok=True)
        images = root / "TravelingBirds" / "CUB_fixed" / split
        (root / "PPTravelingBirds" / "CUB_fixed" / f"{split}_cropped").symlink_to(images)
    data = TravelingBirds(root, "train", crop_gt=True)
    assert "PPTravelingBirds/CUB_fixed/train_cropped" in data.paths[0]
    assert len(data) == 6 and data.boxes is None


# ImageNet -------------------------------------------------------------------------------------------------------------


IDS = ImageNetInfo().label_names()


def test_imagenet_subset(tmp_path):
    splits = load("ImageNet", make_imagenet(tmp_path))
    assert (len(splits.train), len(splits.test)) == (6, 3)
    assert splits.train.classes == ["n01440764", "n02102040", "n03000684"]
    assert splits.train[0][0].shape == splits.test[0][0].shape == (3, 32, 32)
    assert splits.train.mean == (0.485, 0.456, 0.406)


def test_imagenet_names_come_from_meta_bin(tmp_path):
    root = make_imagenet(tmp_path)
    names = {"n01440764": ("tench", "Tinca tinca"), "n02102040": ("springer",), "n03000684": ("chain saw",)}
    torch.save((names, []), root / "imagenet" / "meta.bin")
    data = ImageNet(root, "test")
    assert data.classes == ["tench", "springer", "chain saw"]


def test_imagenet_meta_bin_runs_no_code(tmp_path):
    """A pickle that would create a file is not run; the classes keep their ids."""
    root = make_imagenet(tmp_path)
    trap = tmp_path / "run"

    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    torch.save((Malicious(), []), root / "imagenet" / "meta.bin")
    assert ImageNet(root, "train").classes[0] == "n01440764"
    assert not trap.exists()


@pytest.mark.parametrize(("ids", "first"), [(IDS, "tench"), (["n00000001", *IDS[1:]], "n00000001")])
def test_the_full_list_of_imagenet_has_names_and_as_many_other_classes_have_none(tmp_path, ids, first):
    root = make_imagenet(tmp_path, train=0, test=0)
    for wnid in ids:
        (root / "imagenet" / "train" / wnid).mkdir(parents=True)
    save_image(root / "imagenet" / "val" / ids[0] / "a.JPEG")
    data = ImageNet(root, "test")
    assert len(data.classes) == 1000
    assert data.classes[0] == first


def truncate_archive(imagenet):
    (imagenet / "val").rename(imagenet / "v")
    for archive in ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"):
        (imagenet / archive).write_bytes(b"half")


def move_images_out_of_their_folders(imagenet):
    for path in (imagenet / "val").glob("*/*"):
        path.rename(path.parents[1] / path.name)


def empty_a_class(imagenet):
    for path in (imagenet / "train/n02102040").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda imagenet: imagenet.rename(imagenet.parent / "other"), "imagenet"),
        (lambda imagenet: (imagenet / "val").rename(imagenet / "v"), "val"),
        (lambda imagenet: (imagenet / "train").rename(imagenet / "t"), "train"),
        (lambda imagenet: (imagenet / "val/n02102040").rename(imagenet / "val/n9"), "n9"),
        (move_images_out_of_their_folders, "No images in the class folders"),
        (empty_a_class, "n02102040"),
        (truncate_archive, "cannot be unpacked"),
    ],
)
def test_broken_imagenet_is_one_clear_line(tmp_path, damage, named):
    damage(make_imagenet(tmp_path) / "imagenet")
    with refused(RunError, named, str(tmp_path)):
        load("ImageNet", tmp_path)


# ImageFolder ----------------------------------------------------------------------------------------------------------


def test_names_with_spaces_unicode_and_odd_suffixes(tmp_path):
    names = ["Größter Vogel 🐦", "red  robin", "雀", "O'Brien, jr. (50%)"]
    make_image_folder(tmp_path, classes=names)
    (tmp_path / names[0] / "0.jpg").rename(tmp_path / names[0] / "ÄÖÜ photo.JPEG")
    splits = load("ImageFolder", tmp_path)
    assert splits.train.classes == sorted(names)
    for i in range(len(splits.train)):
        assert splits.train[i][0].shape == (3, 32, 32)


def test_empty_class_is_left_out_with_a_warning(tmp_path, caplog):
    make_image_folder(tmp_path)
    (tmp_path / "sparrow").mkdir()
    assert load("ImageFolder", tmp_path).train.classes == ["robin", "wren"]
    warnings = [record.getMessage() for record in caplog.records if "sparrow" in record.getMessage()]
    assert len(warnings) == 1


def test_statistics_are_those_of_the_training_pixels(tmp_path):
    for split in ("train", "test"):
        for name, value in (("dark", 51), ("light", 153)):
            for i in range(2):
                colour = (value, 0, 255) if split == "train" else (9, 9, 9)
                (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (30, 20), colour).save(tmp_path / split / name / f"{i}.png")
    data = load("ImageFolder", tmp_path).test
    np.testing.assert_allclose(data.mean, (0.4, 0, 1), atol=1e-6)
    np.testing.assert_allclose(data.std, (0.2, 1e-3, 1e-3), atol=1e-6)


def test_statistics_are_remembered_until_an_image_changes(tmp_path, monkeypatch):
    make_image_folder(tmp_path)
    first = load("ImageFolder", tmp_path).train.mean
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "measure_channels", lambda *_: pytest.fail("measured again"))
        assert load("ImageFolder", tmp_path).train.mean == first
    for path in (tmp_path / "wren").iterdir():
        Image.new("RGB", (50, 50), "white").save(path)
    assert load("ImageFolder", tmp_path).train.mean != first


def test_no_place_to_remember_is_no_error(tmp_path, monkeypatch, cache_folder):
    (cache_folder / "chiqpm").write_text("a file where a folder should be")
    assert len(load("ImageFolder", make_image_folder(tmp_path)).train.mean) == 3


def test_attributes_of_classes(tmp_path):
    make_image_folder(tmp_path)
    table = "\ufeffclass,red breast,cocked tail\nwren,0,1\nrobin,1,0.5\neagle,0,0\n"
    (tmp_path / "attributes.csv").write_text(table, encoding="utf-8")
    data = load("ImageFolder", tmp_path).train
    np.testing.assert_array_equal(data.class_attributes(), [[1, 0.5], [0, 1]])
    (tmp_path / "attributes.csv").write_text(table.replace("0.5", "0.6"), encoding="utf-8")
    corrected = load("ImageFolder", tmp_path).train
    assert corrected.fingerprint() == data.fingerprint()  # the images are the same
    assert corrected.attributes_fingerprint() != data.attributes_fingerprint()
    assert data.class_similarity()[0, 1] == pytest.approx(0.5 / np.sqrt(1.25))


def test_attributes_are_found_in_any_unicode_form(tmp_path):
    for form in ("NFC", "NFD"):
        make_image_folder(tmp_path / form)
        for path in (tmp_path / form).glob("**/wren"):
            path.rename(path.with_name(unicodedata.normalize(form, "Größe")))
        (tmp_path / form / "attributes.csv").write_text("class,red\nGröße,0\nrobin,1\n", encoding="utf-8")
        assert sorted(load("ImageFolder", tmp_path / form).train.class_attributes().flatten()) == [0, 1]


def loose(root):
    for i in range(3):
        save_image(root / f"{i}.jpg")


def two_classes(root, *more: str, **splits):
    """Class folders, and further images."""
    make_image_folder(root, **splits)
    for path in more:
        save_image(root / path)


def with_a_lost_link(root):
    (make_image_folder(root) / "wren" / "lost.jpg").symlink_to(root / "gone.jpg")


def with_a_truncated_image(root):
    path = make_image_folder(root, train=3, test=1) / "train" / "robin" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda root: None, "No images"),
        (loose, "no class folders"),
        (lambda root: [(root / name).mkdir() for name in "ab"], "No images"),
        (lambda root: make_image_folder(root, classes=("robin",)), "only the class 'robin'"),
        (lambda root: two_classes(root, "owl/1.jpg"), "'owl' has 1 training image"),
        (lambda root: two_classes(root, train=2), "no test images"),
        (lambda root: (make_image_folder(root, train=3) / "test").mkdir(), "No images"),
        (with_a_lost_link, "lost.jpg"),
        (with_a_truncated_image, "robin/1.jpg"),
        (lambda root: two_classes(root, "test/owl/1.jpg", train=3, test=1), "'owl'"),
    ],
)
def test_wrong_folder_is_one_clear_line(tmp_path, make, named):
    make(tmp_path)
    with refused(RunError, named, str(tmp_path)):
        load("ImageFolder", tmp_path)


def test_what_is_no_folder_is_refused(tmp_path):
    for name in ("photos.zip", "robin.jpg"):
        (tmp_path / name).write_bytes(b"PK")
    for name, said in (("photos.zip", "unpack it"), ("robin.jpg", "it is a file"), ("nowhere", "does not exist")):
        with refused(RunError, said, str(tmp_path / name)):
            load("ImageFolder", tmp_path / name)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        (b"class,red\nrobin,1\n", "'wren'"),
        (b"class,red\nrobin,yes\nwren,no\n", "'robin'"),
        (b"class,red\nrobin,1,2\nwren,0\n", "2 values for 1"),
        (b"class;red\nrobin;1\nwren;0\n", "header"),
        (b"class,red\nwren,1\nwren,0\n", "two lines for class 'wren'"),
        (b"", "attributes.csv"),
        (b"\xff\xfe\x00\x80", "attributes.csv"),
        (b"class,red\nrobin,nan\nwren,0\n", "finite"),
    ],
)
def test_wrong_attributes_are_one_clear_line(tmp_path, table, named):
    (make_image_folder(tmp_path) / "attributes.csv").write_bytes(table)
    with refused(RunError, named, str(tmp_path)):
        load("ImageFolder", tmp_path)


def test_a_folder_name_that_is_no_text_is_refused(tmp_path):
    make_image_folder(tmp_path)
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    with refused(RunError, r"'caf\udce9'", "not UTF-8", "rename it"):
        load("ImageFolder", tmp_path)


def test_nothing_of_the_users_is_changed(tmp_path):
    make_image_folder(tmp_path, train=3, test=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.jpg")}
    splits = load("ImageFolder", tmp_path)
    _ = splits.train[0], splits.test[0]
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_colours_survive_the_way_to_the_network(tmp_path):
    make_image_folder(tmp_path, classes=("robin", "wren"), train=2, test=1)
    data = load("ImageFolder", tmp_path).test
    image, _ = data[1]
    restored = image * torch.tensor(data.std)[:, None, None] + torch.tensor(data.mean)[:, None, None]
    np.testing.assert_allclose(restored[:, 16, 16] * 255, class_colour(1), atol=12)
