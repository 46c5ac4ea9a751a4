"""The data check finds what is wrong, passes what is sound, and says which is which."""

import shutil
import unicodedata

import numpy as np
import pytest
from command_line import exit_code
from fake_datasets import make_cars, make_cub, make_image_folder, make_imagenet, make_traveling_birds, save_image
from PIL import Image

from configs.settings import parse_settings
from dataset_classes import check, synthetic_birds
from dataset_classes.check import check_dataset
from dataset_classes.cub import CUB2011
from dataset_classes.near_copies import near_pairs
from dataset_classes.registry import both_splits

FIRST = f"{CUB2011.folder}/images/001.Black_footed_Albatross/image_0.jpg"


def different_images(root):
    """Give every image of a fake dataset its own content."""
    for i, path in enumerate(sorted(root.rglob("*.[jJ]*"))):
        save_image(path, (i * 7 % 256, i * 13 % 256, i * 29 % 256))
    return root


def report(name, root, *flags):
    (settings,) = parse_settings(["--dataset", name, "--data_root", str(root), *flags], "")
    return check_dataset(*both_splits(settings))


SOUND = {
    "CUB2011": make_cub,
    "StanfordCars": make_cars,
    "TravelingBirds": make_traveling_birds,
    "ImageNet": make_imagenet,
    "ImageFolder": make_image_folder,
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_dataset_passes(tmp_path, name):
    found = report(name, different_images(SOUND[name](tmp_path)))
    assert not found.problems
    assert not found.remarks
    assert "No problems found." in list(found.lines())


def test_synthetic_birds_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic_birds, "IMAGES_PER_CLASS", 2)
    assert not report("SyntheticBirds", tmp_path, "--img_size", "32").problems


def test_counts_per_split_and_class(tmp_path):
    lines = list(report("CUB2011", make_cub(tmp_path, train=3, test=1)).lines())
    assert lines[0].split(":")[1].strip() == "9 images of 3 classes, 3 per class"
    assert any(line.split() == ["Laysan", "Albatross", "3", "1"] for line in lines)


def set_box(root, box):
    boxes = root / CUB2011.folder / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("1 10.0 5.0 20.0 15.0", f"1 {box}", 1))


PROBLEMS = {
    "missing files": lambda root: (root / FIRST).unlink(),
    "unreadable images": lambda root: (root / FIRST).write_bytes(b"\xff\xd8 not much of an image"),
    "boxes that hold no pixel of their image": lambda root: set_box(root, "50 5 20 15"),
    "images in both splits": lambda root: shutil.copy(root / FIRST, (root / FIRST).with_name("image_2.jpg")),
    "boxes that reach over the edge of their image": lambda root: set_box(root, "30 5 20 15"),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_each_kind_of_finding(tmp_path, kind):
    root = different_images(make_cub(tmp_path))
    PROBLEMS[kind](root)
    found = report("CUB2011", root)
    both = {**found.problems, **found.remarks}
    assert list(both) == [kind]
    assert "image_0.jpg" in both[kind][0]
    assert (kind in found.problems) == (kind not in ("images in both splits", *list(PROBLEMS)[4:]))


def test_boxes_that_are_two_corners_are_a_problem(tmp_path):
    root = different_images(make_cub(tmp_path))
    boxes = root / CUB2011.folder / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("10.0 5.0 20.0 15.0", "20 10 35 25"))
    (kind,) = report("CUB2011", root).problems
    assert kind.endswith("(are they x, y, width, height?)")


def test_the_same_picture_in_another_format_is_a_duplicate(tmp_path):
    root = different_images(make_image_folder(tmp_path, train=3, test=2))
    Image.open(root / "train" / "wren" / "0.jpg").save(root / "test" / "wren" / "copy.png")
    assert "copy.png" in report("ImageFolder", root).remarks["images in both splits"][0]


def test_too_few_images_are_reported(tmp_path):
    found = report("CUB2011", different_images(make_cub(tmp_path, train=1, test=0)))
    assert len(found.problems["classes with fewer than 2 training images"]) == 3
    assert len(found.remarks["classes without test images"]) == 3
    assert found.problems["fewer than 2 test images (one calibrates, one measures)"] == ["0 in all"]


def test_one_class_is_a_problem_and_a_long_or_broken_name_keeps_the_table(tmp_path):
    name = "a\n" + "b" * 100
    make_image_folder(tmp_path, classes=(name,))
    found = report("ImageFolder", tmp_path)
    assert found.problems["fewer than 2 classes"] == [name]
    table = "\n".join(found.lines()).split("class ")[1].splitlines()
    assert table[0].strip() == "train    test" and table[1].startswith("'a\\nbbb")


@pytest.mark.parametrize("damage", [False, True])
def test_command_line(tmp_path, capsys, damage):
    root = different_images(make_cub(tmp_path))
    if damage:
        (root / FIRST).unlink()
    assert exit_code(check, "--dataset", "cub2011", "--data_root", root) == damage
    assert ("missing files: 1" in capsys.readouterr().out) == damage


def random_picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((64, 64), Image.Resampling.BICUBIC)
    image.save(path)
    return image


def random_folder(root, classes=("benign", "malignant")):
    """Of every class 6 training images and 3 test images."""
    for c, name in enumerate(classes):
        for i in range(9):
            split, seed = ("train" if i < 6 else "test"), 100 * c + i
            random_picture(root / split / name / f"{i}.png", seed)
    return root


def test_one_picture_under_two_labels_and_copies_within_a_class(tmp_path):
    train = random_folder(tmp_path) / "train"
    shutil.copy(train / "benign/0.png", train / "malignant/again.png")
    shutil.copy(train / "benign/1.png", tmp_path / "test/malignant/leaked.png")
    shutil.copy(train / "benign/2.png", train / "benign/2_copy.png")
    found = report("ImageFolder", tmp_path)
    two_labels = found.problems["one picture under two labels"]
    assert [line.count("benign") + line.count("malignant") for line in two_labels] == [2, 2]
    assert "again.png" in two_labels[0]
    assert "leaked.png" in two_labels[1]
    assert len(found.remarks["images in both splits"]) == 1
    assert "2_copy.png" in found.remarks["copies within a class"][0]


def test_names_that_look_alike_are_named(tmp_path):
    accents = [unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD")]
    random_folder(tmp_path, ("plain", "Plain", "plain ", "pla in", *accents, "other"))
    (kind,) = report("ImageFolder", tmp_path).problems.values()
    assert len(kind) == 2
    accented, plain = kind
    assert plain.count("=") == 3
    assert all(ascii(name) in accented for name in accents)


@pytest.mark.parametrize("change", ["saved again", "smaller", "retouched"])
def test_near_copies_are_reported_as_such(tmp_path, change):
    image = random_picture(random_folder(tmp_path) / "train" / "benign" / "0.png", 0)
    if change == "smaller":
        image = image.resize((48, 48))
    if change == "retouched":
        image.paste((0, 0, 0), (0, 0, 5, 5))
    image.save(tmp_path / "test" / "benign" / "near.jpg", quality=70)
    (kind,) = report("ImageFolder", tmp_path).remarks.items()
    assert kind[0] == "near copies by perceptual hash, in both splits"
    assert len(kind[1]) == 1
    assert "near.jpg" in kind[1][0]


def test_different_pictures_are_no_near_copies():
    pictures = np.random.default_rng(0).integers(0, 256, (3000, 8, 9, 3), dtype=np.uint8)
    assert near_pairs(pictures) == []
    assert near_pairs(np.zeros((500, 8, 9, 3), dtype=np.uint8)) == []


def test_almost_black_images_are_reported(tmp_path):
    random_folder(tmp_path)
    Image.new("RGB", (40, 40), (15, 3, 0)).save(tmp_path / "train" / "benign" / "dark.png")
    (kind,) = report("ImageFolder", tmp_path).remarks.items()
    assert kind[0].startswith("almost black images")
    assert kind[1] == [str(tmp_path / "train" / "benign" / "dark.png")]


def test_the_scale_of_values_is_said(tmp_path):
    for c, name in enumerate("ab"):
        for i in range(6):
            (tmp_path / name).mkdir(exist_ok=True)
            values = np.random.default_rng(10 * c + i).integers(0, 4096, (20, 20), dtype=np.uint16)
            Image.fromarray(values).save(tmp_path / name / f"{i}.png")
    found = report("ImageFolder", tmp_path)
    assert not found.problems
    assert "4095 as white" in found.notes[0]


def test_further_pages_and_frames_are_a_remark(tmp_path):
    root = different_images(make_image_folder(tmp_path))
    path = next(root.rglob("*.jpg"))
    page = Image.open(path)
    pages = path.with_suffix(".tif")
    page.save(pages, save_all=True, append_images=[page.rotate(90)])
    path.unlink()
    found = report("ImageFolder", root)
    assert found.remarks == {"files of several frames or pages, of which the first is used": [str(pages)]}
