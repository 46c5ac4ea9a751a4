"""Tiny datasets in the official layouts: `make_cub(tmp_path)` and its like return the data root."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from architectures.backbones.base import BackboneSpec
from configs.settings import Settings, resolve
from dataset_classes.cub import CUB2011
from dataset_classes.registry import DataSplits, load_data

SIZE = (40, 30)  # width, height
BOX = (10.0, 5.0, 20.0, 15.0)


def load(name, root, crop_gt=True, known=None) -> DataSplits:
    """A dataset at 32 pixels."""
    settings = resolve(Settings(dataset=name, data_root=str(root), img_size=32, cropGT=crop_gt))
    return load_data(settings, BackboneSpec("of no wishes", n_features=1), known)


def random_image(path: Path, seed) -> None:
    """A small image of pixels drawn by a seed or a generator."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save_image(path: Path, colour=(200, 60, 60), size=SIZE) -> Path:
    """A plain image whose middle, the `BOX`, has another colour than its rim."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (20, 20, 20))
    x, y, width, height = map(int, BOX)
    image.paste(colour, (x, y, x + width, y + height))
    image.save(path)
    return path


def class_colour(label: int) -> tuple[int, int, int]:
    return (40 + 50 * (label % 4), 220 - 60 * (label % 3), 80 + 40 * (label % 5))


def make_cub(root: Path, class_ids=(1, 2, 5), train=2, test=1) -> Path:
    """CUB-200-2011 with the given classes; attributes have one row per class."""
    names = ("Black_footed_Albatross", "Laysan_Albatross", "Sooty_Albatross", "Shiny_Cowbird", "Crested_Auklet")
    base = root / CUB2011.folder
    lines: dict[str, list[str]] = defaultdict(list)
    image_id = 0
    for class_id in class_ids:
        official = f"{class_id:03d}.{names[class_id - 1]}"
        lines["classes"].append(f"{class_id} {official}")
        for i in range(train + test):
            image_id += 1
            lines["images"].append(f"{image_id} {official}/image_{i}.jpg")
            lines["image_class_labels"].append(f"{image_id} {class_id}")
            lines["train_test_split"].append(f"{image_id} {int(i < train)}")
            lines["bounding_boxes"].append(f"{image_id} {' '.join(map(str, BOX))}")
            save_image(base / "images" / official / f"image_{i}.jpg", class_colour(class_id))
    for name, rows in lines.items():
        (base / f"{name}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (base / "attributes").mkdir()
    table = np.arange(len(class_ids) * 4, dtype=float).reshape(-1, 4) % 7
    np.savetxt(base / "attributes" / "class_attribute_labels_continuous.txt", table)
    return root


def make_cars(root: Path) -> Path:
    """Stanford Cars of three classes: annotations as Matlab files, classes numbered from 1."""
    base = root / "StanfordCars" / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    names = np.array([f"Maker Model {i} 2012" for i in range(3)], dtype=object)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": names})
    columns = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    kinds = [(column, "O") for column in columns]
    for split, count, file in (
        ("train", 2, "devkit/cars_train_annos.mat"),
        ("test", 1, "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for i in range(count * 3):
            label, name = i % 3, f"{i + 1:05d}.jpg"
            rows.append((1, 1, *SIZE, label + 1, name))
            save_image(base / f"cars_{split}" / name, class_colour(label))
        savemat(base / file, {"annotations": np.array(rows, dtype=kinds)})
    return root


def make_traveling_birds(root: Path, annotations="CUB") -> Path:
    """TravelingBirds: all birds both in `CUB_fixed/train` and in `CUB_fixed/test`, and the text files of CUB."""
    make_cub(root)
    cub, fixed = root / "CUB200" / "CUB_200_2011", root / "TravelingBirds" / "CUB_fixed"
    for split in ("train", "test"):
        shutil.copytree(cub / "images", fixed / split)
    shutil.rmtree(cub / "images")
    if annotations == "fixed":
        for path in cub.glob("*.txt"):
            path.rename(fixed / path.name)
    if annotations == "none":
        (cub / "images.txt").unlink()
    return root


def make_imagenet(root: Path, train=2, test=1) -> Path:
    """ImageNet: a folder per WordNet id in `train/` and `val/`."""
    for folder, count in (("train", train), ("val", test)):
        for label, wnid in enumerate(("n01440764", "n02102040", "n03000684")):
            for i in range(count):
                save_image(root / "imagenet" / folder / wnid / f"{wnid}_{i}.JPEG", class_colour(label))
    return root


def make_image_folder(root: Path, classes=("robin", "wren"), **splits: int) -> Path:
    """Class folders in the split folders given with their images per class; without splits, 10 images in one folder."""
    for folder, count in (splits or {"": 10}).items():
        for label, name in enumerate(classes):
            for i in range(count):
                save_image(root / folder / name / f"{i}.jpg", class_colour(label), size=(40 + i, 30))
    return root
