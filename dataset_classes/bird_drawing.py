"""Drawn birds whose parts are known: vector shapes, antialiased, in the spirit of FunnyBirds (ICCV 2023).

A bird is a look for each of its five parts. Every shape is drawn twice, once in colour and once into a map that says
which part covers which pixel; the map yields where each part is and whether clutter hides it. Shapes are given in the
bird's own frame (facing right, y down, about 2 units long) and pass through one affine map: the pose.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

LOOKS = {
    "head": ("red crest", "blue hood", "black cap", "gold plumes"),
    "beak": ("hook", "spear", "cone", "spoon"),
    "wing": ("green", "barred", "violet", "flame"),
    "belly": ("cream", "spotted", "striped", "rose"),
    "tail": ("fork", "fan", "ribbon", "stub"),
}
PART_NAMES = tuple(LOOKS)
VISIBLE_SHARE = 0.5  # of a part's pixels that clutter must leave uncovered
HIDING_CHANCE = 0.2  # of an image in which leaves cover one part on purpose

INK = (38, 34, 44)
WHITE = (252, 250, 244)


@dataclass
class DrawnBird:
    """One image `[S, S, 3]` uint8, part centres `[P, 2]` as (x, y) fractions, and which parts can be seen `[P]`."""

    image: np.ndarray
    locations: np.ndarray
    visible: np.ndarray


def draw_bird(looks, size, rng):
    """A bird with `looks` (one index per part, in the order of `PART_NAMES`) in a scene drawn from `rng`.

    Args:
        looks: index into each part's looks, `[P]`.
        size: side of the square image in pixels.
        rng: `numpy.random.Generator`; pose, light, background and clutter come from it.

    Returns:
        DrawnBird.
    """
    scene = Scene(size, rng)
    draw_background(scene)
    scene.take_pose()
    draw_perch(scene)
    head, beak, wing, belly, tail = looks
    scene.part("tail", TAILS[tail])
    draw_body(scene)
    scene.part("belly", BELLIES[belly])
    scene.part("wing", WINGS[wing])
    scene.part("beak", BEAKS[beak])
    scene.part("head", HEADS[head])
    draw_eye(scene)
    locations, areas = scene.part_centres(), scene.part_areas()
    draw_clutter(scene, locations)
    return DrawnBird(scene.finish(), locations, scene.part_areas() >= VISIBLE_SHARE * areas)


class Scene:
    """A supersampled canvas, its part map, and the pose that takes the bird's frame to pixels."""

    def __init__(self, size, rng):
        self.rng = rng
        self.size = size
        self.pixels = size * max(2, 256 // size)
        self._set_canvas(
            Image.new("RGB", (self.pixels, self.pixels)), Image.new("L", (self.pixels, self.pixels))
        )
        self.pose = np.eye(2) * self.pixels
        self.origin = np.zeros(2)
        self._part = 0

    def _set_canvas(self, image, part_map):
        self.image, self.part_map = image, part_map
        self._draw, self._draw_map = ImageDraw.Draw(image), ImageDraw.Draw(part_map)

    def paint_background(self, image):
        """Start from `image`, enlarged to the canvas."""
        canvas = image.resize((self.pixels, self.pixels), Image.Resampling.BICUBIC)
        self._set_canvas(canvas, self.part_map)

    def _to_pixels(self, points):
        return [tuple(p) for p in (np.asarray(points) @ self.pose.T + self.origin).tolist()]

    def take_pose(self):
        """Draw facing, rotation, scale and position of the bird."""
        angle = np.deg2rad(self.rng.uniform(-11, 11))
        scale = self.pixels * self.rng.uniform(0.39, 0.43)
        facing = self.rng.choice([-1.0, 1.0])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.pose = scale * turn @ np.diag([facing, 1.0])
        self.origin = self.pixels * (0.5 + self.rng.uniform(-0.035, 0.035, 2))

    def part(self, name, draw):
        """Let `draw` paint a part; what it covers counts as that part."""
        self._part = PART_NAMES.index(name) + 1
        draw(self)
        self._part = 0

    def shape(self, points, fill, outline=True):
        """Fill a polygon given in the current frame, with a darker contour that keeps parts apart at small sizes."""
        corners = self._to_pixels(points)
        self._draw.polygon(corners, fill=fill)
        if outline:
            width = max(1, round(0.007 * self.pixels))
            self._draw.line(
                [*corners, corners[0]], fill=shade(fill, 0.62), width=width, joint="curve"
            )
        self._draw_map.polygon(corners, fill=self._part)

    def stroke(self, points, fill, width):
        """Draw a line with round joints; `width` in units of the frame. Lines decorate: the part map ignores them."""
        corners = self._to_pixels(points)
        pixels = max(1, round(width * np.linalg.norm(self.pose[:, 1])))
        self._draw.line(corners, fill=fill, width=pixels, joint="curve")

    def clipped(self, outline, draw):
        """Let `draw` paint a pattern that stays inside `outline`."""
        before, map_before = self.image.copy(), self.part_map.copy()
        draw(self)
        mask = Image.new("L", self.image.size)
        corners = self._to_pixels(outline)
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        self._set_canvas(
            Image.composite(self.image, before, mask),
            Image.composite(self.part_map, map_before, mask),
        )

    def _small_map(self):
        """The part map at the final size, `[S, S]`."""
        step = self.pixels // self.size
        return np.asarray(self.part_map)[step // 2 :: step, step // 2 :: step]

    def part_areas(self):
        """Pixels of each part that are uncovered, `[P]`."""
        return np.bincount(self._small_map().ravel(), minlength=len(PART_NAMES) + 1)[1:]

    def part_centres(self):
        """Centre of each part as (x, y) fractions `[P, 2]`, moved onto the part where its shape is hollow."""
        part_map = self._small_map()
        centres = []
        for part in range(1, len(PART_NAMES) + 1):
            points = np.argwhere(part_map == part)
            nearest = ((points - points.mean(0)) ** 2).sum(1).argmin()
            centres.append((points[nearest][::-1] + 0.5) / self.size)
        return np.array(centres)

    def finish(self):
        """The image at its size under the scene's light, uint8 `[S, S, 3]`."""
        small = np.asarray(self.image.reduce(self.pixels // self.size), dtype=np.float32)
        slope = self.rng.uniform(-0.10, 0.10, 2)
        grid = np.linspace(-1, 1, self.size)
        light = self.rng.uniform(0.86, 1.1) + slope[0] * grid[None, :] + slope[1] * grid[:, None]
        tint = self.rng.uniform(0.96, 1.04, 3)
        return np.clip(small * light[..., None] * tint, 0, 255).astype(np.uint8)


# Geometry -------------------------------------------------------------------------------------------------------------


def shade(colour, factor):
    """The colour made darker (factor < 1) or lighter (factor > 1)."""
    return tuple(int(min(255, c * factor)) for c in colour)


# Powers of t times this matrix weigh the four control points of a Catmull-Rom segment.
CATMULL_ROM = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])


def smooth(points, steps=7):
    """Closed Catmull-Rom curve through `points` `[K, 2]`, `[K * steps, 2]`."""
    points = np.asarray(points, dtype=float)
    neighbours = (np.arange(len(points))[:, None] + np.arange(-1, 3)) % len(points)  # (K, 4)
    powers = (np.arange(steps)[:, None] / steps) ** np.arange(4)
    return (powers @ CATMULL_ROM @ points[neighbours]).reshape(-1, 2)


CIRCLE = np.linspace(0, 2 * np.pi, 28, endpoint=False)


def ellipse(x, y, radius_x, radius_y=None, angle=0.0):
    """Outline of an ellipse turned by `angle` degrees, `[28, 2]`."""
    radius_y = radius_x if radius_y is None else radius_y
    a = np.deg2rad(angle)
    u, v = radius_x * np.cos(CIRCLE), radius_y * np.sin(CIRCLE)
    return np.stack([x + u * np.cos(a) - v * np.sin(a), y + u * np.sin(a) + v * np.cos(a)], 1)


def feather(base, tip, width, fullness=0.6):
    """A feather (or leaf) from `base` to `tip`, widest at the share `fullness` of its length."""
    base, tip = np.asarray(base, float), np.asarray(tip, float)
    along = tip - base
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along) * width / 2
    middle = base + fullness * along
    return smooth([base, middle - across, tip, middle + across])


def polar(x, y, radius, angle):
    """The point at `radius` and `angle` degrees (0 = right, 90 = up) from (x, y)."""
    a = np.deg2rad(angle)
    return np.array([x + radius * np.cos(a), y - radius * np.sin(a)])


# Body -----------------------------------------------------------------------------------------------------------------

HEAD = (0.40, -0.37)
HEAD_RADIUS = 0.29
BODY_COLOUR = (158, 134, 116)
BODY = smooth(
    [
        (0.62, -0.22),
        (0.58, 0.10),
        (0.40, 0.42),
        (0.05, 0.58),
        (-0.34, 0.50),
        (-0.60, 0.26),
        (-0.42, 0.02),
        (-0.10, -0.14),
        (0.14, -0.34),
    ]
)
BELLY = smooth(
    [
        (0.60, -0.06),
        (0.56, 0.16),
        (0.40, 0.42),
        (0.06, 0.58),
        (-0.20, 0.54),
        (0.02, 0.28),
        (0.26, -0.06),
        (0.44, -0.16),
    ]
)


def draw_body(scene):
    """Legs, trunk and a plain head, the same for every species."""
    for x in (-0.02, 0.16):
        scene.stroke([(x, 0.50), (x + 0.03, 0.80)], (92, 66, 52), 0.05)
        scene.stroke([(x - 0.05, 0.82), (x + 0.13, 0.82)], (92, 66, 52), 0.05)
    scene.shape(BODY, BODY_COLOUR)
    scene.shape(ellipse(*HEAD, HEAD_RADIUS), BODY_COLOUR)
    scene.shape(ellipse(0.34, -0.16, 0.2), BODY_COLOUR, outline=False)  # the neck: hides the seam


def draw_eye(scene):
    """A ringed eye with a glint, drawn last so that every head keeps it."""
    scene.shape(ellipse(0.50, -0.42, 0.085), WHITE)
    scene.shape(ellipse(0.515, -0.42, 0.055), INK, outline=False)
    scene.shape(ellipse(0.535, -0.445, 0.02), WHITE, outline=False)


# Heads ----------------------------------------------------------------------------------------------------------------


def red_crest(scene):
    """Red spikes swept back over a red forehead."""
    red = (214, 38, 40)
    for angle, length in ((172, 0.60), (150, 0.68), (128, 0.66), (106, 0.56)):
        scene.shape(
            feather(polar(*HEAD, 0.12, angle), polar(*HEAD, length, angle + 8), 0.2, 0.45), red
        )
    cap = [polar(*HEAD, HEAD_RADIUS, a) for a in range(20, 200, 12)]
    scene.shape([*cap, (0.28, -0.40), (0.52, -0.54)], red)


def blue_hood(scene):
    """A smooth azure hood down to the throat, with a pale collar."""
    scene.shape(
        smooth([(0.06, -0.10), (0.30, 0.08), (0.60, 0.00), (0.58, -0.20), (0.20, -0.30)]),
        (236, 240, 246),
    )
    hood = [polar(*HEAD, HEAD_RADIUS + 0.03, a) for a in range(-30, 215, 15)]
    scene.shape(smooth([*hood, (0.16, -0.08), (0.36, 0.0), (0.58, -0.08)], 3), (36, 104, 214))
    scene.shape(ellipse(0.32, -0.54, 0.11, 0.05, -25), (96, 160, 240), outline=False)


def black_cap(scene):
    """A black cap and bib around a large white cheek."""
    scene.shape(ellipse(*HEAD, HEAD_RADIUS + 0.01), WHITE)
    cap = [polar(*HEAD, HEAD_RADIUS + 0.04, a) for a in range(-4, 196, 12)]
    scene.shape([*cap, (0.22, -0.34), (0.44, -0.42), (0.60, -0.36)], (30, 28, 34))
    scene.shape(smooth([(0.34, -0.12), (0.62, -0.20), (0.56, 0.02), (0.40, 0.04)]), (30, 28, 34))


def gold_plumes(scene):
    """A golden head under a fan of plumes that end in dark drops."""
    gold = (246, 196, 40)
    for angle in (166, 140, 114, 88):
        root, tip = polar(*HEAD, 0.2, angle), polar(*HEAD, 0.58, angle)
        scene.shape(feather(root, tip, 0.13, 0.5), gold)
        scene.shape(ellipse(*tip, 0.075), (96, 44, 20))
    scene.shape(ellipse(*HEAD, HEAD_RADIUS + 0.01), gold)
    scene.shape(ellipse(0.44, -0.22, 0.13, 0.08, -10), (255, 226, 120), outline=False)


HEADS = (red_crest, blue_hood, black_cap, gold_plumes)


# Beaks ----------------------------------------------------------------------------------------------------------------


def hook_beak(scene):
    """Orange, deep at the root, curved down like a parrot's."""
    orange = (244, 116, 28)
    scene.shape(
        smooth([(0.58, -0.24), (0.78, -0.24), (0.76, -0.12), (0.62, -0.14)]), shade(orange, 0.8)
    )
    scene.shape(
        smooth(
            [
                (0.60, -0.54),
                (0.84, -0.52),
                (0.98, -0.32),
                (0.92, -0.08),
                (0.84, -0.24),
                (0.60, -0.26),
            ]
        ),
        orange,
    )


def spear_beak(scene):
    """Dark, thin and as long as the head is wide."""
    steel = (44, 46, 62)
    scene.shape([(0.62, -0.46), (1.14, -0.34), (0.62, -0.34)], steel)
    scene.shape([(0.62, -0.34), (1.14, -0.34), (0.62, -0.25)], shade(steel, 1.7))


def cone_beak(scene):
    """A thick cone of pale horn."""
    horn = (255, 240, 190)
    scene.shape([(0.58, -0.66), (1.04, -0.33), (0.58, -0.06)], horn)
    scene.shape([(0.60, -0.33), (1.04, -0.33), (0.58, -0.06)], shade(horn, 0.74))


def spoon_beak(scene):
    """Magenta, with a large round blade at its end."""
    magenta = (236, 56, 168)
    scene.shape([(0.60, -0.41), (0.92, -0.37), (0.92, -0.27), (0.60, -0.27)], magenta)
    scene.shape(ellipse(0.95, -0.31, 0.19, 0.17), magenta)
    scene.shape(ellipse(0.97, -0.31, 0.09, 0.07), (255, 170, 220), outline=False)


BEAKS = (hook_beak, spear_beak, cone_beak, spoon_beak)


# Wings ----------------------------------------------------------------------------------------------------------------


def green_wing(scene):
    """Long, pointed and green, with fine feather lines."""
    green = (44, 158, 68)
    scene.shape(
        smooth(
            [
                (0.20, -0.06),
                (0.22, 0.18),
                (-0.16, 0.36),
                (-0.86, 0.36),
                (-0.46, 0.08),
                (-0.06, -0.12),
            ]
        ),
        green,
    )
    for y in (0.10, 0.19, 0.27):
        scene.stroke(
            [(0.12, y - 0.06), (-0.2, y + 0.02), (-0.58, y + 0.06)], shade(green, 0.6), 0.028
        )
    scene.shape(ellipse(0.08, 0.02, 0.11, 0.08, -20), (150, 220, 90), outline=False)


def barred_wing(scene):
    """Round and black with two broad white bars."""
    outline = smooth(
        [(0.22, 0.0), (0.14, 0.30), (-0.20, 0.44), (-0.52, 0.32), (-0.46, 0.06), (-0.06, -0.14)]
    )
    scene.shape(outline, (36, 36, 44))

    def bars(scene):
        for x in (0.0, -0.27):
            scene.shape(
                [(x + 0.02, -0.30), (x + 0.15, -0.30), (x + 0.02, 0.6), (x - 0.11, 0.6)],
                WHITE,
                outline=False,
            )

    scene.clipped(outline, bars)


def violet_wing(scene):
    """Violet, built of round scales that give it a scalloped edge."""
    violet = (136, 62, 190)
    scene.shape(
        smooth(
            [
                (0.20, -0.02),
                (0.14, 0.20),
                (-0.20, 0.36),
                (-0.50, 0.30),
                (-0.42, 0.04),
                (-0.06, -0.14),
            ]
        ),
        violet,
    )
    for row, (y, left, right) in enumerate(
        ((0.34, -0.52, -0.08), (0.20, -0.46, 0.06), (0.05, -0.32, 0.12))
    ):
        for x in np.arange(left, right + 0.01, 0.145):
            scene.shape(ellipse(x, y - 0.10 * (x - left), 0.1), shade(violet, 1.0 + 0.22 * row))


def flame_wing(scene):
    """Separate flame-coloured feathers that spread downwards, under a yellow shoulder."""
    for tip, colour in (
        ((-0.58, 0.14), (196, 40, 24)),
        ((-0.56, 0.36), (224, 66, 22)),
        ((-0.42, 0.56), (240, 100, 24)),
        ((-0.24, 0.66), (248, 138, 30)),
    ):
        scene.shape(feather((0.12, 0.0), tip, 0.26, 0.6), colour)
    scene.shape(ellipse(0.06, 0.02, 0.19, 0.13, -25), (255, 200, 50))


WINGS = (green_wing, barred_wing, violet_wing, flame_wing)


# Bellies --------------------------------------------------------------------------------------------------------------


def cream_belly(scene):
    """Plain cream."""
    scene.shape(BELLY, (250, 232, 186))


def spotted_belly(scene):
    """White with large dark spots."""
    scene.shape(BELLY, WHITE)

    def spots(scene):
        for row, y in enumerate(np.arange(-0.08, 0.62, 0.135)):
            for x in np.arange(-0.2, 0.66, 0.17):
                scene.shape(ellipse(x + 0.085 * (row % 2), y, 0.05), (84, 40, 30), outline=False)

    scene.clipped(BELLY, spots)


def striped_belly(scene):
    """Yellow with black cross stripes."""
    scene.shape(BELLY, (248, 214, 70))

    def stripes(scene):
        for y in np.arange(-0.16, 0.8, 0.17):
            scene.stroke([(-0.3, y + 0.02), (0.2, y + 0.05), (0.7, y - 0.05)], INK, 0.075)

    scene.clipped(BELLY, stripes)


def rose_belly(scene):
    """Deep rose with a lighter sheen."""
    scene.shape(BELLY, (226, 54, 104))
    scene.shape(ellipse(0.40, 0.10, 0.08, 0.15, 20), (246, 120, 156), outline=False)


BELLIES = (cream_belly, spotted_belly, striped_belly, rose_belly)


# Tails ----------------------------------------------------------------------------------------------------------------


def fork_tail(scene):
    """Two long navy blades that part like a swallow's."""
    navy = (34, 48, 122)
    scene.shape(
        smooth([(-0.36, 0.12), (-0.70, 0.06), (-1.10, -0.20), (-0.80, 0.20), (-0.50, 0.34)]), navy
    )
    scene.shape(
        smooth([(-0.40, 0.22), (-0.66, 0.32), (-1.00, 0.68), (-0.62, 0.54), (-0.36, 0.42)]),
        shade(navy, 1.3),
    )


def fan_tail(scene):
    """A broad rufous fan with a pale band."""
    rufous = (176, 74, 34)
    root = (-0.36, 0.24)
    for angle in (146, 165, 184, 203, 222):
        scene.shape(feather(root, polar(*root, 0.72, angle), 0.29, 0.75), rufous)
    arc = [polar(*root, 0.60, a) for a in range(138, 231, 8)]
    scene.stroke(arc, (252, 226, 180), 0.09)


def ribbon_tail(scene):
    """Two thin streamers that end in teal discs."""
    teal = (0, 170, 170)
    for bend, end in (((-0.70, 0.10), (-0.94, -0.06)), ((-0.66, 0.42), (-0.86, 0.58))):
        t = np.linspace(0, 1, 12)[:, None]
        path = (
            (1 - t) ** 2 * np.array([-0.38, 0.24])
            + 2 * t * (1 - t) * np.array(bend)
            + t**2 * np.array(end)
        )
        side = np.array([0.03, 0.04])
        scene.shape(np.concatenate([path - side, path[::-1] + side]), shade(teal, 0.7))
        scene.shape(ellipse(*end, 0.18), teal)
        scene.shape(ellipse(*end, 0.07), (200, 250, 240), outline=False)


def stub_tail(scene):
    """Broad and cocked like a wren's, black with white tips."""
    root = (-0.36, 0.22)
    for angle in (164, 144, 124, 104):
        scene.shape(feather(root, polar(*root, 0.70, angle), 0.27, 0.7), (40, 36, 44))
        scene.shape(ellipse(*polar(*root, 0.63, angle), 0.1), WHITE)


TAILS = (fork_tail, fan_tail, ribbon_tail, stub_tail)


# Scenery --------------------------------------------------------------------------------------------------------------


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
        ridge = small * (
            0.84 + 0.06 * np.sin(np.linspace(0, rng.uniform(3, 7), 9) + rng.uniform(0, 6))
        )
        hills = [(0, small), *zip(np.linspace(0, small, 9), ridge, strict=True), (small, small)]
        draw.polygon(hills, fill=((126, 158, 110), (112, 98, 130))[kind])
    image = image.filter(ImageFilter.GaussianBlur(1.5))
    scene.paint_background(image)


def draw_perch(scene):
    """The branch under the bird's feet."""
    bend = scene.rng.uniform(-0.08, 0.08, 2)
    wood = (110, 78, 54)
    scene.shape(
        smooth(
            [
                (-1.5, 0.82 + bend[0]),
                (0, 0.80),
                (1.5, 0.82 + bend[1]),
                (1.5, 0.95 + bend[1]),
                (0, 0.90),
                (-1.5, 0.95 + bend[0]),
            ]
        ),
        wood,
    )
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
            draw_leaf(
                scene, centre - 0.05 * polar(0, 0, 1, angle), angle + rng.uniform(-15, 15), 0.42
            )
