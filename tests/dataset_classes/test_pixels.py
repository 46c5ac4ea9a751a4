"""Pixel values mean one thing in a dataset, and in the images that its model is shown later."""

import struct
import warnings

import numpy as np
import pytest
from fake_datasets import load
from PIL import Image
from refusals import refused

from configs.errors import RunError
from dataset_classes.description import DataDescription
from dataset_classes.image_files import read_image
from dataset_classes.pixels import FLOAT, PixelScale


def folder_of(root, low, high, kind, ending):
    """Two classes of 6 random pictures whose values reach from `low` to `high`."""
    for c, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(6):
            values = np.random.default_rng(10 * c + i).uniform(low, high, (20, 20))
            values[0, :2] = low, high
            Image.fromarray(values.astype(kind)).save(root / name / f"{i}{ending}")
    return load("ImageFolder", root)


KINDS = {
    "10 bits": (0, 1023, np.uint16, ".png"),
    "12 bits": (0, 4095, np.uint16, ".png"),
    "12 bits in tiff": (0, 4095, np.uint16, ".tif"),
    "14 bits": (0, 16383, np.uint16, ".png"),
    "16 bits": (0, 65535, np.uint16, ".png"),
    "Hounsfield": (-1000, 2000, np.int32, ".tif"),
    "float up to 1": (0, 1.0, np.float32, ".tif"),
    "float up to 1.01": (0, 1.01, np.float32, ".tif"),
    "float up to 255": (0, 255, np.float32, ".tif"),
    "signed float": (-1, 1, np.float32, ".tif"),
    "large integers": (0, 1_000_000, np.int32, ".tif"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_brightest_value_of_a_dataset_is_white_and_the_darkest_black(tmp_path, kind):
    splits = folder_of(tmp_path, *KINDS[kind])
    for data in (splits.train, splits.test):
        assert data.image(0).getextrema() == ((0, 255),) * 3


def test_the_one_image_beside_which_all_others_are_black_is_named(tmp_path, caplog):
    data = folder_of(tmp_path, *KINDS["float up to 1.01"]).train
    assert data.scale.ranges and "almost black" not in caplog.text
    stray = tmp_path / "ant" / "stray.tif"
    Image.fromarray(np.full((20, 20), 3e38, np.float32)).save(stray)
    assert load("ImageFolder", tmp_path).train.scale.ranges["float"][1] > 1e38
    assert caplog.text.count(f"{stray} has values up to 3e+38, others usually up to 1.01: beside it") == 1


def test_a_darker_picture_stays_darker_and_new_ones_go_by_the_recorded_scale(tmp_path):
    splits = folder_of(tmp_path / "data", 0, 4095, np.uint16, ".png")
    known = DataDescription.from_dict(DataDescription.of(splits.test).as_dict())
    assert known.scale == PixelScale({"16-bit": (0.0, 4095.0)})
    for value in (1000, 1010):
        Image.fromarray(np.full((9, 9), value, np.uint16)).save(tmp_path / f"{value}.png")
    shown = [np.asarray(read_image(tmp_path / f"{v}.png", scale=known.scale))[0, 0, 0] for v in (1000, 1010)]
    assert shown == [62, 62]


def save(path, values):
    Image.fromarray(values).save(path)
    return path


def test_an_image_of_another_scale_is_refused_by_name(tmp_path):
    twelve, eight = PixelScale({"16-bit": (0.0, 4095.0)}), PixelScale()
    full = save(tmp_path / "full.png", np.full((9, 9), 60_000, np.uint16))
    dim = save(tmp_path / "dim.png", np.full((9, 9), 4095, np.uint16))
    floats = save(tmp_path / "float.tif", np.full((9, 9), 0.5, np.float32))
    slices = save(tmp_path / "ct.tif", np.full((9, 9), -200, np.int32))
    for path, scale in [(full, twelve), (dim, eight), (floats, twelve), (floats, eight), (slices, eight)]:
        with refused(RunError, path.name):
            read_image(path, scale=scale)
    assert read_image(full, scale=eight).getpixel((0, 0)) == (233,) * 3


def test_a_scale_does_not_depend_on_the_largest_value_of_one_image(tmp_path):
    paths = [save(tmp_path / f"{v}.png", np.full((9, 9), v, np.uint16)) for v in (4095, 4136)]
    first, second = (int(np.asarray(read_image(path)).max()) for path in paths)
    assert abs(first - second) <= 1


def test_values_that_are_no_numbers_are_black():
    values = np.array([[np.nan] + [0.5] * 200])
    shown = PixelScale({"float": (0.0, 1.0)}).to_bytes(values, "float")
    assert shown[0, :2].tolist() == [0, 127]


def exif(*entries, payload=b""):
    body = struct.pack("<IH", 8, len(entries)) + b"".join(entries) + struct.pack("<I", 0) + payload
    return b"Exif\0\0II*\0" + body


def entry(tag, kind, count, value):
    return struct.pack("<HHII", tag, kind, count, value)


DAMAGED = {
    "unit of a wrong type": exif(entry(0x0112, 3, 1, 6), entry(0x0128, 5, 1, 38), payload=struct.pack("<II", 1, 3)),
    "a pointer to nowhere": exif(entry(0x0112, 3, 1, 6), entry(0x8769, 4, 1, 0xFFFFFF)),
    "a text of 4 GB": exif(entry(0x0112, 3, 1, 6), entry(0x010F, 2, 0xFFFFFFFF, 8)),
    "an unknown type": exif(entry(0x0112, 3, 1, 6), entry(0x0131, 99, 1, 0)),
}
WITHOUT_ORIENTATION = {
    "cut": b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12",
    "no header": b"Exif\0\0garbage",
    "orientation 0": exif(entry(0x0112, 3, 1, 0)),
    "orientation 77": exif(entry(0x0112, 3, 1, 77)),
    "orientation as text": exif(entry(0x0112, 2, 4, 0x41414141)),
    "empty": b"Exif\0\0",
}


@pytest.mark.parametrize("kind", [*DAMAGED, *WITHOUT_ORIENTATION])
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_damaged_exif_never_stops_a_run(tmp_path, kind, ending):
    data = {**DAMAGED, **WITHOUT_ORIENTATION}[kind]
    try:
        Image.new("RGB", (30, 20), (200, 60, 20)).save(tmp_path / f"a{ending}", exif=data)
    except Exception:
        pytest.skip("Pillow does not write this")
    image = read_image(tmp_path / f"a{ending}")
    assert image.size == ((20, 30) if kind in DAMAGED else (30, 20))


def test_a_png_with_a_large_colour_profile_is_read(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", icc_profile=bytes(3_000_000))
    assert read_image(str(tmp_path / "a.png")).size == (4, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations(tmp_path, orientation):
    mark = Image.Exif()
    mark[0x0112] = orientation
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # the corner that is up and left in the file
    image.save(tmp_path / "a.png", exif=mark)
    shown = read_image(tmp_path / "a.png")
    x, y = [(0, 0), (1, 0), (1, 1), (0, 1)][(orientation - 1) % 4]
    assert shown.getpixel((x * (shown.width - 1), y * (shown.height - 1))) == (255, 255, 255)


def test_values_that_are_no_numbers_or_without_end_are_black_and_white():
    values = np.full(1000, 0.5)
    values[:3] = np.nan, np.inf, -np.inf
    with warnings.catch_warnings(action="error"):
        shown = PixelScale({FLOAT: (0.0, 1.0)}).to_bytes(values, FLOAT)
    assert shown[:4].tolist() == [0, 255, 0, 127]
