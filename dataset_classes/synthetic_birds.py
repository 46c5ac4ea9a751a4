"""SyntheticBirds: 48 invented species that are combinations of drawn parts, in the spirit of FunnyBirds (ICCV 2023).

The species come in twelve families of four. Within a family each of three species differs from the first in exactly one
part, so that telling them apart needs that part. They were chosen at random such that all pairs of looks are about
equally frequent: with fewer species, looks of two parts that never meet would seem to be alternatives. For every image
it is known where its parts are and which of them are visible.

    python -m dataset_classes.synthetic_birds --sheet sheet.png

draws all species on one page.
"""

import hashlib
import logging
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from configs.arguments import flag, parse_flags
from configs.files import write_atomically
from configs.script import progress, run_script
from dataset_classes import transforms
from dataset_classes.base import ImageDataset
from dataset_classes.bird_drawing import draw_bird
from dataset_classes.bird_parts import LOOKS
from dataset_classes.keypoints import Keypoints

log = logging.getLogger(__name__)

SPECIES = {  # head, beak, wing, belly, tail
    "Gold-plumed Conebill": ("gold plumes", "cone", "violet", "rose", "ribbon"),
    "Cream-breasted Conebill": ("gold plumes", "cone", "violet", "cream", "ribbon"),
    "Gold-plumed Spearbill": ("gold plumes", "spear", "violet", "rose", "ribbon"),
    "Bar-winged Conebill": ("gold plumes", "cone", "barred", "rose", "ribbon"),
    "Blue-hooded Hookbill": ("blue hood", "hook", "green", "striped", "fork"),
    "Stub-tailed Hookbill": ("blue hood", "hook", "green", "striped", "stub"),
    "Blue-hooded Spoonbill": ("blue hood", "spoon", "green", "striped", "fork"),
    "Black-capped Hookbill": ("black cap", "hook", "green", "striped", "fork"),
    "Red-crested Spoonbill": ("red crest", "spoon", "flame", "spotted", "fan"),
    "Black-capped Spoonbill": ("black cap", "spoon", "flame", "spotted", "fan"),
    "Red-crested Conebill": ("red crest", "cone", "flame", "spotted", "fan"),
    "Cream-breasted Spoonbill": ("red crest", "spoon", "flame", "cream", "fan"),
    "Black-capped Spearbill": ("black cap", "spear", "barred", "cream", "stub"),
    "Violet-winged Spearbill": ("black cap", "spear", "violet", "cream", "stub"),
    "Fork-tailed Spearbill": ("black cap", "spear", "barred", "cream", "fork"),
    "Blue-hooded Spearbill": ("blue hood", "spear", "barred", "cream", "stub"),
    "Red-crested Hookbill": ("red crest", "hook", "violet", "rose", "fork"),
    "Violet-winged Hookbill": ("red crest", "hook", "violet", "rose", "stub"),
    "Spotted Hookbill": ("red crest", "hook", "violet", "spotted", "fork"),
    "Bar-winged Hookbill": ("red crest", "hook", "barred", "rose", "fork"),
    "Green-winged Spearbill": ("gold plumes", "spear", "green", "spotted", "fan"),
    "Striped Spearbill": ("gold plumes", "spear", "green", "striped", "fan"),
    "Stub-tailed Spearbill": ("gold plumes", "spear", "green", "spotted", "stub"),
    "Spotted Spearbill": ("blue hood", "spear", "green", "spotted", "fan"),
    "Blue-hooded Conebill": ("blue hood", "cone", "flame", "striped", "ribbon"),
    "Flame-winged Hookbill": ("blue hood", "hook", "flame", "striped", "ribbon"),
    "Black-capped Conebill": ("black cap", "cone", "flame", "striped", "ribbon"),
    "Rose-breasted Conebill": ("blue hood", "cone", "flame", "rose", "ribbon"),
    "Bar-winged Spoonbill": ("black cap", "spoon", "barred", "striped", "stub"),
    "Gold-plumed Spoonbill": ("gold plumes", "spoon", "barred", "striped", "stub"),
    "Violet-winged Spoonbill": ("black cap", "spoon", "violet", "striped", "stub"),
    "Rose-breasted Spoonbill": ("black cap", "spoon", "barred", "rose", "stub"),
    "Green-winged Spoonbill": ("red crest", "spoon", "green", "cream", "ribbon"),
    "Ribbon-tailed Spoonbill": ("red crest", "spoon", "green", "rose", "ribbon"),
    "Bar-winged Cream-breasted Spoonbill": ("red crest", "spoon", "barred", "cream", "ribbon"),
    "Green-winged Conebill": ("red crest", "cone", "green", "cream", "ribbon"),
    "Gold-plumed Hookbill": ("gold plumes", "hook", "flame", "cream", "fan"),
    "Cream-breasted Hookbill": ("blue hood", "hook", "flame", "cream", "fan"),
    "Fork-tailed Hookbill": ("gold plumes", "hook", "flame", "cream", "fork"),
    "Fan-tailed Hookbill": ("gold plumes", "hook", "barred", "cream", "fan"),
    "Violet-winged Conebill": ("black cap", "cone", "violet", "spotted", "fork"),
    "Spotted Spoonbill": ("black cap", "spoon", "violet", "spotted", "fork"),
    "Spotted Conebill": ("blue hood", "cone", "violet", "spotted", "fork"),
    "Fan-tailed Conebill": ("black cap", "cone", "violet", "spotted", "fan"),
    "Flame-winged Spearbill": ("gold plumes", "spear", "flame", "rose", "fork"),
    "Striped Fork-tailed Spearbill": ("gold plumes", "spear", "flame", "striped", "fork"),
    "Rose-breasted Spearbill": ("blue hood", "spear", "flame", "rose", "fork"),
    "Flame-winged Spoonbill": ("gold plumes", "spoon", "flame", "rose", "fork"),
}
CLASS_PARTS = np.array([[LOOKS[p].index(look) for p, look in zip(LOOKS, s, strict=True)] for s in SPECIES.values()])
IMAGES_PER_CLASS = 40  # in each split
SEED = 2025  # of the dataset; the seed of a run does not change the images
VERSION = 2  # part of the cache's name: raise it when the drawing or the species change
SPLITS = ("train", "test")
SWAPPED_PER_CLASS = 2  # test images of every class that are drawn again with other looks


class DrawnImages(ImageDataset):
    """Images that are read from one file and kept in memory as drawn: `_images` `[N, S, S, 3]` uint8."""

    name = "SyntheticBirds"
    square = True
    _images: np.ndarray

    def full_image(self, index: int) -> Image.Image:
        """Image `index` as drawn."""
        return Image.fromarray(self._images[index])

    def missing_images(self) -> list[str]:
        """None: all images are in one file."""
        return []

    def _read_digests(self) -> list[str]:
        return [hashlib.blake2b(image, digest_size=16).hexdigest() for image in self._images]


class SyntheticBirds(DrawnImages):
    """One split of the drawn birds, generated once under `DATA_ROOT/SyntheticBirds` and read from there afterwards.

    Attributes:
        class_parts: `[C, P]` the look that each class has of each part.
        part_locations: `[N, P, 2]` centre of each part as (x, y) fractions of the image, also under the test transform.
        part_visibility: `[N, P]` bool, False where clutter covers more than half of the part.
    """

    class_parts = CLASS_PARTS
    per_image = (*ImageDataset.per_image, "_images", "part_locations", "part_visibility")

    def __init__(self, data_root, split: str, *, img_size: int = 64, crop_gt: bool = False):
        self._folder, self._img_size = Path(data_root) / self.name, img_size
        cache = self._folder / f"birds_{img_size}px_v{VERSION}.npz"
        birds = load_arrays(cache, lambda: generate(img_size))
        self._images = birds[f"{split}_images"]
        self.part_locations = birds[f"{split}_locations"]
        self.part_visibility = birds[f"{split}_visible"]
        self.mean, self.std = map(tuple, birds["statistics"].tolist())
        labels = np.repeat(np.arange(len(SPECIES)), IMAGES_PER_CLASS)
        paths = [f"{cache}/{split}_{i:04d}" for i in range(len(labels))]
        super().__init__(paths, labels, SPECIES, root=data_root, attributes=one_hot_looks(CLASS_PARTS))

    def keypoints(self) -> Keypoints:
        """Where the parts are in every image."""
        return Keypoints(tuple(LOOKS), self.part_locations, self.part_visibility)

    def other_looks(self, index: int) -> list[Image.Image]:
        """Image `index` with every other look of every part, part by part."""
        split, _, row = Path(self.paths[index]).name.rpartition("_")  # also right for a subset
        images = draw_swapped(split, int(row), self._img_size)
        return [Image.fromarray(image) for image in images.reshape(-1, *images.shape[2:])]

    def swapped_looks(self) -> "SwappedLooks":
        """The first test images of every class, drawn again with the look of one part swapped."""
        return SwappedLooks(self, self._folder, self._img_size)

    def train_transform(self, img_size: int) -> transforms.ImageTransform:
        """Mild augmentation: the scenes vary already, and colours tell looks apart."""
        return transforms.drawn_train(img_size, self.mean, self.std)


class SwappedLooks(DrawnImages):
    """Images that differ from test images in the look of one part: same pose, light, background and clutter.

    The transform is that of `birds`.

    Attributes:
        shape: `(C * SWAPPED_PER_CLASS, P, L)`: test images, parts and other looks; the images are in this order.
    """

    def __init__(self, birds: SyntheticBirds, folder: Path, img_size: int):
        cache = folder / f"swapped_{img_size}px_v{VERSION}.npz"
        images = load_arrays(cache, lambda: generate_swapped(img_size))["images"]
        self.shape = images.shape[:3]
        self._images = images.reshape(-1, *images.shape[3:])
        super().__init__(
            [f"{cache}/{i:05d}" for i in range(len(self._images))],
            np.repeat(np.arange(len(SPECIES)), len(self._images) // len(SPECIES)),
            SPECIES,
            root=folder,
        )
        self.transform = birds.transform


def one_hot_looks(class_parts: np.ndarray) -> np.ndarray:
    """`[C, P]` looks as `[C, A]` attributes, one column per look of each part."""
    return np.concatenate([np.eye(len(looks))[class_parts[:, p]] for p, looks in enumerate(LOOKS.values())], axis=1)


def load_arrays(cache: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays in `cache`, made and stored there if it is missing or damaged; RunError if it cannot be written."""
    try:
        with np.load(cache) as stored:
            return dict(stored)  # reading every array also compares its checksum
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        log.warning("%s is damaged and is drawn again", cache)
    arrays: dict[str, Any] = make()
    write_atomically(cache, lambda path: np.savez(path, **arrays))
    return arrays


def generate(img_size: int) -> dict[str, np.ndarray]:
    """Draw both splits.

    Returns:
        For `train` and `test`: `_images` `[N, S, S, 3]` uint8, `_locations` `[N, P, 2]`, `_visible` `[N, P]`;
        and `statistics` `[2, 3]`, mean and standard deviation of the training pixels in [0, 1].
    """
    labels = np.repeat(np.arange(len(SPECIES)), IMAGES_PER_CLASS)
    birds = {}
    for s, split in enumerate(SPLITS):
        shown = progress(labels, desc=f"Drawing {split} birds at {img_size} px", unit="bird")
        drawn = [draw_specimen(label, img_size, (SEED, s, i)) for i, label in enumerate(shown)]
        birds[f"{split}_images"] = np.stack([bird.image for bird in drawn])
        birds[f"{split}_locations"] = np.stack([bird.locations for bird in drawn])
        birds[f"{split}_visible"] = np.stack([bird.visible for bird in drawn])
    pixels = birds["train_images"].reshape(-1, 3) / np.float32(255)
    birds["statistics"] = np.stack([pixels.mean(0, dtype=np.float64), pixels.std(0, dtype=np.float64)])
    return birds


def generate_swapped(img_size: int) -> dict[str, np.ndarray]:
    """Draw the first test images of every class with every other look of every part: `images` `[R, P, L, S, S, 3]`."""
    each = min(SWAPPED_PER_CLASS, IMAGES_PER_CLASS)
    rows = [c * IMAGES_PER_CLASS + i for c in range(len(SPECIES)) for i in range(each)]
    shown = progress(rows, desc=f"Drawing birds with swapped looks at {img_size} px", unit="bird")
    return {"images": np.stack([draw_swapped("test", row, img_size) for row in shown])}


def draw_swapped(split: str, row: int, img_size: int) -> np.ndarray:
    """Image `row` of a split with every other look of every part, `[P, L, S, S, 3]`.

    Drawing parts uses no random numbers, so scene and pose stay.
    """
    own = CLASS_PARTS[row // IMAGES_PER_CLASS]
    images = []
    for part, names in enumerate(LOOKS.values()):
        others = [look for look in range(len(names)) if look != own[part]]
        for look in others:
            looks = np.where(np.arange(len(own)) == part, look, own)
            rng = np.random.default_rng((SEED, SPLITS.index(split), row))
            images.append(draw_bird(looks, img_size, rng).image)
    return np.stack(images).reshape(len(own), -1, img_size, img_size, 3)


def draw_specimen(label: int, img_size: int, seed: tuple[int, int, int]):
    """One bird of the species `label`; the same for the same arguments, whatever was drawn before."""
    return draw_bird(CLASS_PARTS[label], img_size, np.random.default_rng(seed))


def contact_sheet(per_class: int = 4, img_size: int = 112) -> Image.Image:
    """All species with their names, `per_class` specimens each."""
    columns, margin, caption = 3, 14, 26
    cell_width, cell_height = per_class * (img_size + 4) + margin, img_size + caption + margin
    rows = -(-len(SPECIES) // columns)
    sheet = Image.new("RGB", (columns * cell_width + margin, rows * cell_height + margin), (250, 249, 245))
    draw = ImageDraw.Draw(sheet)
    font, small_font = ImageFont.load_default(17), ImageFont.load_default(12)
    for label, (name, looks) in enumerate(SPECIES.items()):
        x, y = margin + label % columns * cell_width, margin + label // columns * cell_height
        draw.text((x, y), name, fill=(40, 40, 48), font=font)
        x_looks = x + draw.textlength(name, font=font) + 10
        draw.text((x_looks, y + 4), ", ".join(looks), fill=(130, 126, 120), font=small_font)
        for i in range(per_class):
            bird = draw_specimen(label, img_size, (SEED, len(SPLITS), label * per_class + i))
            sheet.paste(Image.fromarray(bird.image), (x + i * (img_size + 4), y + caption))
    return sheet


@dataclass(frozen=True)
class SheetFlags:
    """Flags of this module's command line."""

    sheet: str = flag("output", "synthetic_birds.png", "where to save the page of all species", metavar="FILE")


def main() -> None:
    """Command line: draw the contact sheet."""
    (flags,) = parse_flags(None, __doc__, SheetFlags)
    write_atomically(Path(flags.sheet), contact_sheet().save)
    print(f"{len(SPECIES)} species drawn to {flags.sheet}")


if __name__ == "__main__":
    run_script(main)
