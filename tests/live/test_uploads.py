import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from live.uploads import Box, UploadError, cut, decode, greyed


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


RED = Image.new("RGB", (40, 20), (200, 10, 10))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_usual_formats_are_read(kind):
    image = decode(encoded(RED, kind))
    assert image.size == (40, 20) and image.mode == "RGB"
    assert np.abs(np.asarray(image, dtype=int) - (200, 10, 10)).max() < 12


def test_a_photo_is_turned_as_the_camera_noted():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(RED, "JPEG", exif=exif)).size == (20, 40)


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not an image"),
        (b"<!DOCTYPE html><html><body>hello</body></html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (encoded(RED)[:60], "damaged"),
        (encoded(RED, "JPEG")[:300], "damaged"),
        (png_that_claims(20_000, 20_000), "pixels"),
        (png_that_claims(400, 400), "damaged"),
    ],
)
def test_hostile_and_damaged_files_are_refused_in_one_sentence(data, said):
    with refused(UploadError, match=said):
        decode(data)


def test_of_a_file_that_is_image_and_page_only_the_image_is_read():
    assert decode(encoded(RED) + b"<script>alert(1)</script>").size == (40, 20)


@pytest.mark.parametrize("text", ["", "1,2", "0,0,2,1", "0.5,0,0.5,1", "a,b,c,d", "nan,0,1,1", "0.9,0,0.1,1"])
def test_boxes_outside_the_photo_are_refused(text):
    with pytest.raises(UploadError):
        Box.parse(text)


def test_a_box_cuts_out_or_greys_out():
    box = Box.parse("0.5,0,1,0.5")
    assert cut(RED, box).size == (20, 10)
    pixels = np.asarray(greyed(RED, box))
    assert (pixels[:10, 20:] == 127).all()
    assert (pixels[10:] == (200, 10, 10)).all() and (pixels[:, :20] == (200, 10, 10)).all()
    assert np.asarray(RED)[0, 30].tolist() == [200, 10, 10]  # the photo itself stays
