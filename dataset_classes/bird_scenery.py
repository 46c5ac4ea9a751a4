"""What is around a drawn bird: background, perch, and leaves in front of it."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from dataset_classes.bird_scene import feather, polar, shade, smooth

HIDING_CHANCE = 0.2  # of an image in which leaves cover one part on purpose


def gradient(top, bottom, height):
    """An RGB image that fades from `top` to `bottom`."""
    t = np.linspace(0, 1, height)[:, None, None]
    rows = (1 - t) * np.array(top) + t * np.array(bottom)
    return Image.fromarray(np.broadcast_to(rows, (height, height, 3)).astype(np.uint8))


SKIES = (
    ((120, 178, 232), (214, 234, 248)),  # day
    ((170, 160, 206), (252, 214, 186)),  # dusk
    ((188, 214, 160), (120, 168, 98)),  # foliage
    ((226, 222, 178), (168, 190, 128)),  # meadow
)


def draw_background(scene):
    """Sky, dusk, foliage or meadow, out of focus: drawn small and enlarged."""
    rng = scene.rng
    kind = rng.integers(len(SKIES))
    small = 96
    image = gradient(*SKIES[kind], small)
    draw = ImageDraw.Draw(image)
    base = np.array(SKIES[kind][1])
    for _ in range(rng.integers(5, 10)):  # clouds, bushes or blades, by the colours of the kind
        x, y, r = rng.uniform(0, small), rng.uniform(0, small), rng.uniform(6, 16)
        fill = tuple(int(c) for c in np.clip(base + rng.uniform(-24, 30), 0, 255))
        draw.ellipse([x - r, y - r * 0.6, x + r, y + r * 0.6], fill=fill)
    if kind < 2:
        ridge = small * (0.84 + 0.06 * np.sin(np.linspace(0, rng.uniform(3, 7), 9) + rng.uniform(0, 6)))
        hills = [(0, small), *zip(np.linspace(0, small, 9), ridge, strict=True), (small, small)]
        draw.polygon(hills, fill=((126, 158, 110), (112, 98, 130))[kind])
    image = image.filter(ImageFilter.GaussianBlur(1.5))
    scene.paint_background(image)


def draw_perch(scene):
    """The branch under the bird's feet."""
    bend = scene.rng.uniform(-0.08, 0.08, 2)
    wood = (110, 78, 54)
    upper = [(-1.5, 0.82 + bend[0]), (0, 0.80), (1.5, 0.82 + bend[1])]
    lower = [(1.5, 0.95 + bend[1]), (0, 0.90), (-1.5, 0.95 + bend[0])]
    scene.shape(smooth(upper + lower), wood)
    for _ in range(scene.rng.integers(1, 4)):
        x = scene.rng.uniform(-1.1, 1.1)
        draw_leaf(scene, (x, 0.86), scene.rng.uniform(20, 160), scene.rng.uniform(0.2, 0.32))


def draw_leaf(scene, root, angle, length):
    """One leaf with its midrib."""
    tip = polar(*root, length, angle)
    green = tuple(int(c) for c in np.array([92, 132, 58]) * scene.rng.uniform(0.75, 1.2))
    scene.shape(feather(root, tip, 0.5 * length, 0.45), green)
    scene.stroke([root, polar(*root, 0.8 * length, angle)], shade(green, 0.7), 0.02)


def draw_clutter(scene, locations):
    """Leaves in front of the bird: a few anywhere and, now and then, a spray that hides one part."""
    rng = scene.rng
    to_frame = np.linalg.inv(scene.pose)
    for _ in range(rng.integers(0, 4)):
        place = to_frame @ (rng.uniform(0, 1, 2) * scene.pixels - scene.origin)
        draw_leaf(scene, place, rng.uniform(0, 360), rng.uniform(0.15, 0.3))
    if rng.random() < HIDING_CHANCE:
        centre = to_frame @ (locations[rng.integers(len(locations))] * scene.pixels - scene.origin)
        for angle in rng.uniform(0, 360) + np.arange(0, 360, 72):
            draw_leaf(scene, centre - 0.05 * polar(0, 0, 1, angle), angle + rng.uniform(-15, 15), 0.42)
