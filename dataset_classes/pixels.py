"""From the values in an image file to 8-bit RGB, with one meaning of black and white for a whole dataset.

In files of 8 bits it is clear which value is white. In others it is not: a detector of 12 bits writes values up to 4095
into 16 bits, a CT scanner writes Hounsfield units, a program writes floats up to 1 or up to 255. Scaling each image by
its own largest value would show two almost equal images at different brightness, so the scale is decided for the whole
dataset, the run records it, and new images are read with it. If it cannot be known, an image is refused.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

# A scan of 100 million pixels is not an attack; Pillow still refuses images of twice its limit.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Nor is a PNG whose colour profile has megabytes.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

SIXTEEN_BIT, INTEGER, FLOAT = "16-bit", "integer", "float"  # kinds of values other than 8-bit ones
USUAL_BITS = (8, 10, 12, 14, 16)  # of detectors and files
STRAY_SHARE = 0.01  # of an image's pixels that may lie far outside the scale
ALMOST_BLACK = 15  # of 255
ORIENTATION = 0x0112  # EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Extremes:
    """The kind of an image's values, the smallest and the largest."""

    kind: str
    low: float
    high: float


@dataclass(frozen=True)
class PixelScale:
    """Which values are black and white."""

    # Black and white, by the kind of values (`16-bit`, `integer`, `float`)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, images: Iterable[Extremes]) -> "PixelScale":
        """The scale of a dataset whose images (8-bit ones aside) have these extremes."""
        found: dict[str, tuple[float, float]] = {}
        for image in images:
            low, high = found.get(image.kind, (image.low, image.high))
            found[image.kind] = min(low, image.low), max(high, image.high)
        return cls({kind: usual_range(kind, *found[kind]) for kind in sorted(found)})

    @classmethod
    def recorded(cls, ranges) -> "PixelScale":
        """The scale whose `ranges` were read from JSON; TypeError or ValueError if they are none."""
        return cls({str(kind): (float(low), float(high)) for kind, (low, high) in ranges.items()})

    def to_bytes(self, values: np.ndarray, kind: str) -> np.ndarray:
        """Values from 0 (black) to 255 (white), uint8; values beyond black or white are clipped.

        Raises:
            ValueError: if it is unknown which value is white, or the image seems to have another scale.
        """
        values = np.nan_to_num(values.astype(np.float64), nan=0.0)
        black, white = self.ranges.get(kind) or assumed_range(values, kind)
        span = white - black
        lowest, highest = black - span, white + span
        stray = (values < lowest) | (values > highest)
        if stray.mean() > STRAY_SHARE:
            raise ValueError(
                f"its values go from {values.min():g} to {values.max():g}, but black is {black:g} and white {white:g} "
                f"in the {kind} images it belongs to; bring it to their scale"
            )
        return ((values.clip(lowest, highest) - black) * (255 / span)).clip(0, 255).astype(np.uint8)


# For an image that belongs to no dataset: white as in the file format.
FORMAT_SCALE = PixelScale({SIXTEEN_BIT: (0.0, 65535.0)})


def usual_range(kind: str, low: float, high: float) -> tuple[float, float]:
    """Black and white of images whose values go from `low` to `high`.

    Black is 0 unless there are negative values. White is the largest value of the fewest usual bits that hold `high`,
    for whole numbers; for others it is `high`.
    """
    black = min(low, 0.0)
    full = [2.0**bits - 1 for bits in USUAL_BITS if 2**bits > high]
    white = full[0] if kind != FLOAT and black == 0 and full else high
    return black, white if white > black else black + 1.0


def assumed_range(values: np.ndarray, kind: str) -> tuple[float, float]:
    """Black and white of an image if no scale for its kind is known; ValueError if it cannot be told."""
    if kind == SIXTEEN_BIT and values.max() > 65535 / 8:  # otherwise it may have 12 bits, or be dark
        return FORMAT_SCALE.ranges[SIXTEEN_BIT]
    raise ValueError(
        f"{kind} values from {values.min():g} to {values.max():g}, of which nobody can say which is white; "
        "save it with 8 bits"
    )


def value_kind(image: Image.Image) -> str | None:
    """The kind of values of an opened image; None if Pillow gives 8 bits."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return SIXTEEN_BIT
    return {"I": INTEGER, "F": FLOAT}.get(image.mode[:1])


def extremes(image: Image.Image) -> Extremes | None:
    """Kind, smallest and largest finite value of an opened image; None for 8-bit ones, which are not decoded."""
    kind = value_kind(image)
    if kind is None:
        return None
    values = np.asarray(image, dtype=np.float64)
    values = values[np.isfinite(values)]
    return Extremes(kind, float(values.min(initial=0)), float(values.max(initial=0)))


def to_rgb(image: Image.Image, scale: PixelScale = FORMAT_SCALE) -> Image.Image:
    """The image in RGB, transparent parts over white; values that do not have 8 bits are scaled, as in `to_bytes`."""
    kind = value_kind(image)
    if kind is not None:
        return Image.fromarray(scale.to_bytes(np.asarray(image), kind)).convert("RGB")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def is_almost_black(image: Image.Image) -> bool:
    """Whether no value of an RGB image is above `ALMOST_BLACK`."""
    extrema: Any = image.getextrema()  # of each channel
    return max(high for _, high in extrema) <= ALMOST_BLACK


def turned_upright(image: Image.Image) -> Image.Image:
    """The image turned as its orientation tag says; unchanged if that tag is damaged."""
    image.load()
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION))
    except Exception:  # damaged EXIF raises many kinds, and its pixels are fine
        return image
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format  # the meaning of its values depends on it
    return turned
