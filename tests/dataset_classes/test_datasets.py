"""CUB and Stanford Cars in tiny copies of their official layouts, and what every dataset shares."""

import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_datasets import BOX, SIZE, class_colour, load, make_cars, make_cub, save_image
from PIL import Image
from refusals import refused
from scipy.io import savemat

from configs.errors import RunError
from configs.recipes import DATASETS
from dataset_classes import base, transforms
from dataset_classes.cub import BOXES, CUB2011, IMAGE_ATTRIBUTES, PART_LOCATIONS, PARTS, readable
from dataset_classes.stanford_cars import StanfordCars


@pytest.mark.parametrize(("name", "make", "classes"), [("CUB2011", make_cub, 3), ("StanfordCars", make_cars, 3)])
@pytest.mark.parametrize("crop_gt", [True, False])
def test_splits_are_complete(tmp_path, name, make, classes, crop_gt):
    splits = load(name, make(tmp_path), crop_gt)
    assert len(splits.train.classes) == classes
    assert sorted(splits.train.labels) == sorted(list(range(classes)) * 2)
    assert sorted(splits.test.labels) == list(range(classes))
    assert not set(splits.train.paths) & set(splits.test.paths)
    for dataset in (splits.train, splits.train_unaugmented, splits.test):
        image, label = dataset[1]
        assert image.shape == (3, 32, 32)
        assert image.dtype == torch.float32
        assert label == dataset.labels[1]
        assert isinstance(label, int)


def test_plain_view_is_the_training_images_without_chance(tmp_path):
    splits = load("CUB2011", make_cub(tmp_path))
    assert splits.train_unaugmented.paths == splits.train.paths
    assert torch.equal(splits.train_unaugmented[0][0], splits.train_unaugmented[0][0])
    assert any(not torch.equal(splits.train[0][0], splits.train[0][0]) for _ in range(5))


def test_cub_subset_labels_names_and_attributes(tmp_path):
    data = CUB2011(make_cub(tmp_path, class_ids=(1, 2, 5)), "train")
    assert data.classes == ["Black-footed Albatross", "Laysan Albatross", "Crested Auklet"]
    assert data.labels.dtype == np.int64
    assert data.class_attributes().shape == (3, 4)
    similarity = data.class_similarity()
    rows = data.class_attributes()
    expected = rows[0] @ rows[2] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[2])
    assert similarity[0, 2] == pytest.approx(expected)
    assert np.all(np.diag(similarity) == 0)


def test_cub_attributes_of_images_are_those_of_the_split_in_its_order(tmp_path):
    root = make_cub(tmp_path, class_ids=(1, 5))  # images 3 and 6 are for testing
    assert CUB2011(root, "train").image_attributes() is None
    file = root / CUB2011.folder / "attributes" / "image_attribute_labels.txt"
    lines = [f"{image} {attribute} {image % 2} 3 1.5" for image in range(1, 7) for attribute in (1, 2)]
    lines[3] += " 0"  # some lines of the official file have more columns
    file.write_text("\n".join(lines))
    train, test = (CUB2011(root, split).image_attributes() for split in ("train", "test"))
    assert train[:, 0].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert train[::2, 2].tolist() == [1, 0, 0, 1]  # of images 1, 2, 4 and 5
    assert test.tolist() == [[1, 1, 1, 3], [1, 2, 1, 3], [2, 1, 0, 3], [2, 2, 0, 3]]
    file.write_text("\n".join(lines[:-4]))
    with refused(RunError, "image_attribute_labels.txt", match="no line for image 5"):
        CUB2011(root, "train").image_attributes()


def test_cub_attributes_may_be_of_all_classes_beside_a_subset_or_missing(tmp_path):
    root = make_cub(tmp_path, class_ids=(1, 5))
    file = root / CUB2011.folder / "attributes" / "class_attribute_labels_continuous.txt"
    table = np.random.default_rng(0).random((5, 4))
    np.savetxt(file, table)
    np.testing.assert_allclose(CUB2011(root, "test").class_attributes(), table[[0, 4]])
    file.unlink()
    assert CUB2011(root, "train").class_similarity() is None


def test_cub_is_cropped_on_the_fly(tmp_path):
    root = make_cub(tmp_path)
    assert CUB2011(root, "train", crop_gt=False).image(0).size == SIZE
    bird = CUB2011(root, "train", crop_gt=True).image(0)
    assert bird.size == (BOX[2], BOX[3])
    np.testing.assert_allclose(np.asarray(bird).mean((0, 1)), class_colour(1), atol=12)


def test_cub_takes_the_cropped_copy_where_there_is_one(tmp_path):
    root = make_cub(tmp_path)
    for split in ("train", "test"):
        for path in CUB2011(root, split).paths:
            name = "/".join(path.split("/")[-2:])
            save_image(root / "PPCUB200" / "CUB_200_2011" / f"{split}_cropped" / name, size=(24, 24))
    data = CUB2011(root, "test", crop_gt=True)
    assert data.image(0).size == (24, 24)
    assert "test_cropped" in data.paths[0]
    assert "PPCUB200" not in CUB2011(root, "test", crop_gt=False).paths[0]


@pytest.mark.parametrize(
    ("official", "name"),
    [
        ("027.Shiny_Cowbird", "Shiny Cowbird"),
        ("034.Gray_crowned_Rosy_Finch", "Gray-crowned Rosy Finch"),
        ("017.Cardinal", "Cardinal"),
    ],
)
def test_readable_names(official, name):
    assert readable(official) == name


def test_cars_leave_out_classes_without_images(tmp_path):
    root = make_cars(tmp_path)
    meta = root / "StanfordCars/stanford_cars/devkit/cars_meta.mat"
    names = np.array([f"Car {i}" for i in range(5)], dtype=object)
    savemat(meta, {"class_names": names})
    assert StanfordCars(root, "train").classes == ["Car 0", "Car 1", "Car 2"]


@pytest.mark.parametrize("name", DATASETS)
def test_every_recipe_names_the_class_of_its_dataset(name):
    found = pkgutil.resolve_name(f"dataset_classes.{DATASETS[name].source}")
    assert issubclass(found, base.ImageDataset) and found.name == name


def test_fingerprint_tells_datasets_apart_but_not_places(tmp_path):
    def fingerprint(root, crop_gt=True, **what):
        return load("CUB2011", make_cub(root, **what), crop_gt).train.fingerprint()

    here = fingerprint(tmp_path / "here")
    assert fingerprint(tmp_path / "there") == here
    others = {
        fingerprint(tmp_path / "a", class_ids=(1, 2, 3)),
        fingerprint(tmp_path / "b", train=3),
        fingerprint(tmp_path / "c", crop_gt=False),
    }
    assert len(others - {here}) == 3


def test_images_are_decoded_once(tmp_path, monkeypatch):
    splits = load("CUB2011", make_cub(tmp_path))
    reads = []
    monkeypatch.setattr(base, "read_image", lambda path, **_: reads.append(path) or Image.new("RGB", SIZE))
    for _ in range(3):
        _ = splits.train[0], splits.train_unaugmented[0]
    assert len(reads) == 1


@pytest.mark.parametrize(("side", "loads"), [(10, 3), (11, 6)])
def test_images_are_remembered_if_all_fit(side, loads):
    cache = base.ImageCache(max_bytes=3 * 4 * 10 * 10, n_images=3)
    made = []
    for _ in range(2):
        for index in range(3):
            cache.get(index, transforms.Resize(side, True), lambda: made.append(1) or Image.new("RGB", SIZE))
    assert len(made) == loads


def test_another_size_is_not_taken_from_memory():
    cache = base.ImageCache(max_bytes=10**6, n_images=1)
    for side in (10, 12, 10):
        image = cache.get(0, transforms.Resize(side, True), lambda: Image.new("RGB", SIZE))
        assert image.size == (side, side)


def test_short_side_is_resized_and_the_centre_taken():
    image = Image.new("RGB", (80, 40), (255, 0, 0))
    image.paste((0, 255, 0), (20, 0, 60, 40))
    transform = transforms.fine_grained_test(20, (0, 0, 0), (1, 1, 1), square=False)
    assert transform.resize(image).size == (40, 20)
    assert transform(image)[1, :, 1:-1].min() > 0.9  # only the green middle is left


def test_imagenet_test_transform_sees_the_centre_of_256():
    transform = transforms.imagenet_test(224, (0, 0, 0), (1, 1, 1))
    assert transform.resize(Image.new("RGB", (600, 300))).size == (512, 256)
    assert transform(Image.new("RGB", (600, 300))).shape == (3, 224, 224)


def test_lighting_moves_along_the_colour_directions():
    torch.manual_seed(0)
    moved = torch.stack([transforms.Lighting(0.05)(torch.zeros(3, 2, 2))[:, 0, 0] for _ in range(4000)])
    expected = 0.05 * (transforms.LIGHTING_VECTORS * transforms.LIGHTING_VALUES).square().sum(1).sqrt()
    torch.testing.assert_close(moved.std(0), expected, rtol=0.05, atol=0)


# What can be wrong ----------------------------------------------------------------------------------------------------


CARS = "StanfordCars/stanford_cars"
CLASS_ATTRIBUTES = "attributes/class_attribute_labels_continuous.txt"

# A file that is missing or holds something else, and what is named.
BROKEN_CUB = [
    ("images.txt", None, "images.txt"),
    ("bounding_boxes.txt", None, "bounding_boxes.txt"),
    ("images/001.Black_footed_Albatross/image_0.jpg", None, "image_0.jpg"),
    ("image_class_labels.txt", b"1 one\n", "line 1"),
    ("image_class_labels.txt", b"1 1.5\n", "line 1"),
    ("images.txt", b"\xff\xfe\x00", "images.txt"),
    ("bounding_boxes.txt", b"1 2.0 3.0\n", "line 1"),
    ("images.txt", b"", "images.txt"),
    ("images.txt", b"\n", "is empty"),
    ("images.txt", b"1 a\0.jpg\n", "1 of 1 images are missing"),
    ("train_test_split.txt", b"1 1\n", "train_test_split"),
    ("train_test_split.txt", "".join(f"{i} {i % 3}\n" for i in range(1, 10)).encode(), "0 or 1"),
    ("images.txt", b"\xef\xbb\xbf1 a.jpg\n1 b.jpg\n", "line 2: 1 has a line before"),
    ("classes.txt", b"one 001.Albatross\n", "line 1"),
    ("bounding_boxes.txt", b"1 nan 0 1 1\n", "line 1"),
    ("classes.txt", b"1 001.Albatross\n", "classes.txt"),
    (CLASS_ATTRIBUTES, b"many feathers\n", "class_attribute_labels_continuous.txt"),
    (CLASS_ATTRIBUTES, b"1 2\n", "1 row"),
]
BROKEN_CARS = [
    ("devkit/cars_meta.mat", None, "devkit/cars_meta.mat"),
    ("cars_test_annos_withlabels.mat", None, "withlabels"),
    ("devkit/cars_train_annos.mat", b"x" * 300, "annos.mat"),
    ("devkit/cars_train_annos.mat", b"", "annos.mat"),
    ("cars_train/00001.jpg", None, "00001.jpg"),
]


@pytest.mark.parametrize(
    ("name", "file", "content", "named"),
    [("CUB2011", *case) for case in BROKEN_CUB] + [("StanfordCars", *c) for c in BROKEN_CARS],
)
def test_broken_dataset_is_one_clear_line(tmp_path, name, file, content, named):
    make, folder = {"CUB2011": (make_cub, CUB2011.folder), "StanfordCars": (make_cars, CARS)}[name]
    file = make(tmp_path) / folder / file
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with refused(RunError, named, str(tmp_path)):
        load(name, tmp_path)


@pytest.mark.parametrize("name", ["CUB2011", "StanfordCars", "TravelingBirds"])
def test_missing_dataset_says_where_and_what_to_do(tmp_path, name):
    with refused(RunError, str(tmp_path / "nowhere"), "https://", "--data_root", "SyntheticBirds"):
        load(name, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "make", "inside"),
    [
        ("CUB2011", make_cub, CUB2011.folder),
        ("CUB2011", make_cub, CUB2011.folder.parent),
        ("StanfordCars", make_cars, Path(CARS)),
    ],
)
def test_a_data_root_inside_of_a_dataset_is_told_the_right_one(tmp_path, name, make, inside):
    with refused(RunError, f"give --data_root {make(tmp_path)}.", str(tmp_path / inside)):
        load(name, tmp_path / inside)


@pytest.mark.parametrize("box", ["500 5 20 15", "0.1 0.2 0.6 0.5"])
def test_a_box_that_holds_no_pixel_is_named(tmp_path, box):
    root = make_cub(tmp_path)
    boxes = root / CUB2011.folder / "bounding_boxes.txt"
    boxes.write_text(boxes.read_text().replace("1 10.0 5.0 20.0 15.0", f"1 {box}", 1))
    with refused(RunError, "bounding box", "image_0.jpg"):
        CUB2011(root, "train").image(0)


def test_blank_lines_are_passed_over_and_images_left_out_are_said(tmp_path, caplog):
    root = make_cub(tmp_path)
    for file in (root / CUB2011.folder).glob("*.txt"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b" \r\n") + b"\r\n")
    assert (len(CUB2011(root, "train")), caplog.text) == (6, "")
    images = root / CUB2011.folder / "images.txt"
    images.write_text("".join(images.read_text().splitlines(keepends=True)[:-2]))
    assert len(CUB2011(root, "test")) == 2
    assert "images.txt names 8 images, image_class_labels.txt labels 9" in caplog.text


@pytest.mark.parametrize(
    ("file", "text"),
    [
        *(
            (name, text)
            for name in (CLASS_ATTRIBUTES, IMAGE_ATTRIBUTES, PART_LOCATIONS)
            for text in ("", "1 nan 1 1 1", "a b", "1 2")
        ),
        (IMAGE_ATTRIBUTES, "1 -1 1 3\n"),
        (IMAGE_ATTRIBUTES, "1 1 7 3\n"),
    ],
)
def test_annotations_that_only_the_evaluation_needs_are_checked_before(tmp_path, file, text):
    folder = make_cub(tmp_path) / CUB2011.folder
    (folder / "parts").mkdir()
    (folder / "parts" / "parts.txt").write_text("1 beak\n")
    (folder / file).write_text(text)
    with refused(RunError, file):
        CUB2011(tmp_path, "test").check_annotations()


@pytest.mark.parametrize("file", [IMAGE_ATTRIBUTES, PART_LOCATIONS, PARTS, BOXES])
def test_annotations_that_change_at_the_same_size_are_other_ones(tmp_path, file):
    path = make_cub(tmp_path) / CUB2011.folder / file
    path.parent.mkdir(exist_ok=True)
    known = set()
    for text in ("1 1 0 3", "1 1 1 3"):
        path.write_text(text)
        known.add(CUB2011(tmp_path, "test", crop_gt=False).attributes_fingerprint())
    assert len(known) == 2


def test_of_a_very_long_image_the_middle_is_resized():
    line = Image.new("RGB", (30_000, 1))
    line.paste((255, 255, 255), (14_992, 0, 15_008, 1))
    resized = transforms.Resize(64, square=False)(line)
    assert resized.size == (64 * transforms.LONGEST, 64) and resized.getextrema() == ((255, 255),) * 3
    assert transforms.Resize(64, square=False)(Image.new("RGB", (1, 30_000))).size == (64, 64 * transforms.LONGEST)
    assert transforms.Resize(8, square=False)(Image.new("RGB", (10, 160))).size == (8, 128)
    assert transforms.Resize(8, square=True)(line).size == (8, 8)
