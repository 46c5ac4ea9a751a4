"""Tiny datasets in the official layouts: `make_cub(tmp_path)` and its like return the data root."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (40, 30)  # width, height
BOX = (10.0, 5.0, 20.0, 15.0)


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


def make_cub(
    root: Path, class_ids=(1, 2, 5), train=2, test=1, folder="CUB200/CUB_200_2011"
) -> Path:
    """CUB-200-2011 with the given classes; attributes have one row per class."""
    names = (
        "Black_footed_Albatross",
        "Laysan_Albatross",
        "Sooty_Albatross",
        "Shiny_Cowbird",
        "Crested_Auklet",
    )
    base = root / folder
    lines = {
        name: []
        for name in (
            "images",
            "image_class_labels",
            "train_test_split",
            "bounding_boxes",
            "classes",
        )
    }
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


def make_cars(root: Path, classes=3, train=2, test=1) -> Path:
    """Stanford Cars: annotations as Matlab files, classes numbered from 1."""
    base = root / "StanfordCars" / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    names = np.array([f"Maker Model {i} 2012" for i in range(classes)], dtype=object)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": names})
    kinds = [(f"bbox_{corner}", "O") for corner in ("x1", "y1", "x2", "y2")] + [
        ("class", "O"),
        ("fname", "O"),
    ]
    for split, count, file in (
        ("train", train, "devkit/cars_train_annos.mat"),
        ("test", test, "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        for i in range(count * classes):
            label, name = i % classes, f"{i + 1:05d}.jpg"
            rows.append((1, 1, *SIZE, label + 1, name))
            save_image(base / f"cars_{split}" / name, class_colour(label))
        savemat(base / file, {"annotations": np.array(rows, dtype=kinds)})
    return root
