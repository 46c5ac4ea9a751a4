"""Photos that a browser sends: decoded in memory, limited in size, never written to disk."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from configs.errors import reason
from dataset_classes.pixels import FORMAT_SCALE, PixelScale, to_rgb, turned_upright

MAX_PIXELS = 50_000_000
# Raster formats of cameras, scanners and browsers; Pillow would also start Ghostscript for EPS.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
GREY = 127  # of what is greyed out
SMALLEST = 0.02  # side of a box, as a fraction of the photo's


class UploadError(ValueError):
    """An invalid request; the message is one sentence for the user of the page."""


@dataclass(frozen=True)
class Box:
    """A part of a photo: left, top, right, bottom, as fractions of its sides."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def parse(cls, text: str) -> "Box":
        """The box in a text such as `0.1,0.2,0.9,1`; UploadError if it is not a box inside the photo."""
        try:
            left, top, right, bottom = (float(x) for x in text.split(","))
        except ValueError:
            raise UploadError("a box is four numbers: left, top, right, bottom") from None
        inside = min(left, top) >= 0 and max(right, bottom) <= 1
        if not (inside and right - left >= SMALLEST and bottom - top >= SMALLEST):
            raise UploadError("the box must lie inside the photo and must not be too small")
        return cls(left, top, right, bottom)

    def pixels(self, image: Image.Image) -> tuple[int, int, int, int]:
        """The box in pixels of an image, at least one wide and high."""
        left, top = int(self.left * image.width), int(self.top * image.height)
        right = max(left + 1, round(self.right * image.width))
        return left, top, right, max(top + 1, round(self.bottom * image.height))


def decode(data: bytes, scale: PixelScale = FORMAT_SCALE) -> Image.Image:
    """The first frame of an image file in RGB, upright, with values in `scale`; UploadError if it cannot be read."""
    if not data:
        raise UploadError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UploadError(
                    f"the photo has {image.width} x {image.height} pixels, more than "
                    f"{MAX_PIXELS // 10**6} million; make it smaller"
                )
            return to_rgb(turned_upright(image), scale)
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise UploadError(f"this is not an image that can be read here ({known})") from None
    except UploadError:
        raise
    except Exception as error:  # decoders raise many kinds on hostile files
        raise UploadError(f"the image is damaged ({reason(error)[:120]})") from None


def cut(image: Image.Image, box: Box | None) -> Image.Image:
    """The part of a photo inside a box."""
    return image if box is None else image.crop(box.pixels(image))


def greyed(image: Image.Image, box: Box | None) -> Image.Image:
    """The photo with the inside of a box greyed out."""
    if box is None:
        return image
    left, top, right, bottom = box.pixels(image)
    pixels = np.array(image)
    pixels[top:bottom, left:right] = GREY
    return Image.fromarray(pixels)
