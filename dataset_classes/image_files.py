"""One image file: its first frame in RGB, its size, and the part of it inside a box."""

import os

from PIL import Image, UnidentifiedImageError

from configs.errors import RunError, reason
from dataset_classes.contents import require_regular
from dataset_classes.pixels import FORMAT_SCALE, PixelScale, to_rgb, turned_upright


def read_image(path: str, *, upright: bool = True, scale: PixelScale = FORMAT_SCALE) -> Image.Image:
    """The first frame of an image file in RGB.

    Args:
        upright: turn the image as its orientation tag says.
        scale: which values are black and white in the dataset of the image; by default 65535 is white in 16-bit images,
            and integers or floats are refused.

    Raises:
        RunError: if the file is missing, damaged or not an image, or its scale is unknown; names the file.
    """
    try:
        require_regular(path)
        with Image.open(path) as image:
            return to_rgb(turned_upright(image) if upright else image, scale)
    except FileNotFoundError:
        raise RunError(f"The image {path} is missing.") from None
    except UnidentifiedImageError:
        raise RunError(f"{path} is not an image (or is damaged); replace or remove it.") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise RunError(f"The image {path} cannot be read ({reason(error)}); replace or remove it.") from None


def image_size(path: str) -> tuple[int, int]:
    """Width and height of an image file, as it is stored; RunError, which names it, if it cannot be read."""
    try:
        require_regular(path)
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError) as error:
        raise RunError(f"The image {path} cannot be read ({reason(error)}).") from None


def has_more_frames(path: str) -> bool:
    """Whether the file of a readable image holds further frames or pages, which are ignored."""
    if not os.path.isfile(path):  # drawn by the program
        return False
    with Image.open(path) as image:
        # The further frames of a phone's photo (MPO) are previews of it.
        return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


def is_missing(path: str) -> bool:
    """Whether there is no such file; RunError if permissions keep it unknown."""
    try:
        require_regular(path)
    except PermissionError as error:
        raise RunError(f"The image {path} cannot be read ({error.strerror}).") from None
    except (OSError, ValueError):  # ValueError: a damaged list may hold what cannot be a file name
        return True
    return False


def crop(image: Image.Image, box, path: str) -> Image.Image:
    """The part of `image` inside `box` (x, y, width, height in pixels); RunError if there is none."""
    left, top, right, bottom = edges(box, image.size)
    if left >= right or top >= bottom or min(box[2:]) < 1:
        raise RunError(
            f"The bounding box of {path} holds no pixel of the image ({image.width} x {image.height} pixels): x, y, "
            "width and height must be pixels."
        )
    return image.crop((left, top, right, bottom))


def edges(box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom edge of a box (x, y, width, height) in an image of this width and height, pixels."""
    x, y, width, height = box
    right, bottom = min(size[0], round(x + width)), min(size[1], round(y + height))
    return max(0, round(x)), max(0, round(y)), right, bottom
