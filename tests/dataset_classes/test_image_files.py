"""Images as people have them: of every kind that Pillow reads, damaged ones, and what only looks like one."""

import numpy as np
import pytest
import torch
from fake_datasets import load, save_image
from PIL import Image
from refusals import refused

from configs.errors import RunError
from dataset_classes.image_files import read_image

COLOUR = np.tile(np.array([200, 60, 20], dtype=np.uint8), (40, 30, 1))


def save_sixteen_bit(path):
    Image.fromarray(np.full((40, 30), 200 * 257, dtype=np.uint16)).save(path)


def save_animated(path):
    frames = [Image.new("RGB", (30, 40), colour) for colour in ((200, 60, 20), (0, 0, 255))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)


def save_transparent(path):
    image = Image.new("RGBA", (30, 40), (200, 60, 20, 255))
    image.paste((0, 0, 0, 0), (0, 0, 30, 20))
    image.save(path)


def save_palette_with_transparency(path):
    image = Image.new("P", (30, 40), 1)
    image.putpalette([0, 0, 0, 200, 60, 20])
    image.save(path, transparency=0)


ODD_IMAGES = {
    "gray.png": (lambda path: Image.new("L", (30, 40), 200).save(path), (200, 200, 200)),
    "gray.jpg": (lambda path: Image.new("L", (30, 40), 200).save(path), (200, 200, 200)),
    "gray_alpha.png": (lambda path: Image.new("LA", (30, 40), (200, 255)).save(path), (200, 200, 200)),
    "bilevel.png": (lambda path: Image.new("1", (30, 40), 1).save(path), (255, 255, 255)),
    "rgba.png": (lambda path: Image.fromarray(COLOUR).convert("RGBA").save(path), (200, 60, 20)),
    "transparent.png": (save_transparent, None),
    "palette.png": (save_palette_with_transparency, (200, 60, 20)),
    "cmyk.jpg": (lambda path: Image.fromarray(COLOUR).convert("CMYK").save(path), (200, 60, 20)),
    "sixteen_bit.png": (save_sixteen_bit, (200, 200, 200)),
    "sixteen_bit.tif": (save_sixteen_bit, (200, 200, 200)),
    "animated.gif": (save_animated, (200, 60, 20)),
    "animated.webp": (save_animated, (200, 60, 20)),
    "bitmap.bmp": (lambda path: Image.fromarray(COLOUR).save(path), (200, 60, 20)),
    "png_named.jpg": (lambda path: Image.fromarray(COLOUR).save(path, format="PNG"), (200, 60, 20)),
}


@pytest.mark.parametrize("name", ODD_IMAGES)
def test_every_kind_of_image_becomes_rgb(tmp_path, name):
    save, colour = ODD_IMAGES[name]
    save(tmp_path / name)
    image = read_image(str(tmp_path / name))
    assert image.mode == "RGB"
    assert image.size == (30, 40)
    if colour:
        np.testing.assert_allclose(np.asarray(image).mean((0, 1)), colour, atol=8)
    else:  # what cannot be seen is white, not the colour hidden below
        np.testing.assert_array_equal(image.getpixel((5, 5)), (255, 255, 255))
        np.testing.assert_array_equal(image.getpixel((5, 35)), (200, 60, 20))


def test_a_folder_of_odd_images_is_trained_on(tmp_path):
    for folder in ("odd", "even"):
        (tmp_path / folder).mkdir()
        for name, (save, _) in ODD_IMAGES.items():
            save(tmp_path / folder / name)
    splits = load("ImageFolder", tmp_path)
    for data in (splits.train, splits.test):
        for i in range(len(data)):
            assert data[i][0].shape == (3, 32, 32)
            assert torch.isfinite(data[i][0]).all()


def truncated(path):
    pixels = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:2000])


UNREADABLE = {
    "truncated.jpg": truncated,
    "truncated.png": truncated,
    "truncated.gif": truncated,
    "truncated.webp": truncated,
    "truncated.tif": truncated,
    "empty.jpg": lambda path: path.write_bytes(b""),
    "text.jpg": lambda path: path.write_text("not an image"),
    "page.jpg": lambda path: path.write_text("<html>404</html>"),
    "folder.jpg": lambda path: path.mkdir(),
    "gone.jpg": lambda path: path.symlink_to(path.parent / "nowhere"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_image_is_named(tmp_path, name):
    UNREADABLE[name](tmp_path / name)
    with refused(RunError, str(tmp_path / name)):
        read_image(str(tmp_path / name))


def test_an_image_too_large_to_decode_safely_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with refused(RunError, "bomb.png", "exceeds limit"):
        read_image(str(save_image(tmp_path / "bomb.png")))
