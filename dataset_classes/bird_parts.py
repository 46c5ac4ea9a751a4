"""The looks of the five parts, and the body they are attached to.

Every function draws into a `Scene`, in the bird's own frame.
"""

import numpy as np

from dataset_classes.bird_scene import INK, WHITE, ellipse, feather, polar, shade, smooth

LOOKS = {
    "head": ("red crest", "blue hood", "black cap", "gold plumes"),
    "beak": ("hook", "spear", "cone", "spoon"),
    "wing": ("green", "barred", "violet", "flame"),
    "belly": ("cream", "spotted", "striped", "rose"),
    "tail": ("fork", "fan", "ribbon", "stub"),
}
PART_NAMES = tuple(LOOKS)

HEAD = (0.40, -0.37)
HEAD_RADIUS = 0.29
BODY_COLOUR = (158, 134, 116)
BODY = smooth([
    (0.62, -0.22), (0.58, 0.10), (0.40, 0.42), (0.05, 0.58), (-0.34, 0.50), (-0.60, 0.26), (-0.42, 0.02),
    (-0.10, -0.14), (0.14, -0.34),
])  # fmt: skip
BELLY = smooth(
    [(0.60, -0.06), (0.56, 0.16), (0.40, 0.42), (0.06, 0.58), (-0.20, 0.54), (0.02, 0.28), (0.26, -0.06), (0.44, -0.16)]
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
        scene.shape(feather(polar(*HEAD, 0.12, angle), polar(*HEAD, length, angle + 8), 0.2, 0.45), red)
    cap = [polar(*HEAD, HEAD_RADIUS, a) for a in range(20, 200, 12)]
    scene.shape([*cap, (0.28, -0.40), (0.52, -0.54)], red)


def blue_hood(scene):
    """A smooth azure hood down to the throat, with a pale collar."""
    scene.shape(smooth([(0.06, -0.10), (0.30, 0.08), (0.60, 0.00), (0.58, -0.20), (0.20, -0.30)]), (236, 240, 246))
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
    scene.shape(smooth([(0.58, -0.24), (0.78, -0.24), (0.76, -0.12), (0.62, -0.14)]), shade(orange, 0.8))
    blade = [(0.60, -0.54), (0.84, -0.52), (0.98, -0.32), (0.92, -0.08), (0.84, -0.24), (0.60, -0.26)]
    scene.shape(smooth(blade), orange)


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
    outline = [(0.20, -0.06), (0.22, 0.18), (-0.16, 0.36), (-0.86, 0.36), (-0.46, 0.08), (-0.06, -0.12)]
    scene.shape(smooth(outline), green)
    for y in (0.10, 0.19, 0.27):
        scene.stroke([(0.12, y - 0.06), (-0.2, y + 0.02), (-0.58, y + 0.06)], shade(green, 0.6), 0.028)
    scene.shape(ellipse(0.08, 0.02, 0.11, 0.08, -20), (150, 220, 90), outline=False)


def barred_wing(scene):
    """Round and black with two broad white bars."""
    outline = smooth([(0.22, 0.0), (0.14, 0.30), (-0.20, 0.44), (-0.52, 0.32), (-0.46, 0.06), (-0.06, -0.14)])
    scene.shape(outline, (36, 36, 44))

    def bars(scene):
        for x in (0.0, -0.27):
            scene.shape([(x + 0.02, -0.30), (x + 0.15, -0.30), (x + 0.02, 0.6), (x - 0.11, 0.6)], WHITE, outline=False)

    scene.clipped(outline, bars)


def violet_wing(scene):
    """Violet, built of round scales that give it a scalloped edge."""
    violet = (136, 62, 190)
    outline = [(0.20, -0.02), (0.14, 0.20), (-0.20, 0.36), (-0.50, 0.30), (-0.42, 0.04), (-0.06, -0.14)]
    scene.shape(smooth(outline), violet)
    for row, (y, left, right) in enumerate(((0.34, -0.52, -0.08), (0.20, -0.46, 0.06), (0.05, -0.32, 0.12))):
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
    scene.shape(smooth([(-0.36, 0.12), (-0.70, 0.06), (-1.10, -0.20), (-0.80, 0.20), (-0.50, 0.34)]), navy)
    scene.shape(smooth([(-0.40, 0.22), (-0.66, 0.32), (-1.00, 0.68), (-0.62, 0.54), (-0.36, 0.42)]), shade(navy, 1.3))


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
    teal, root = (0, 170, 170), np.array([-0.38, 0.24])
    for bend, end in (((-0.70, 0.10), (-0.94, -0.06)), ((-0.66, 0.42), (-0.86, 0.58))):
        t = np.linspace(0, 1, 12)[:, None]
        path = (1 - t) ** 2 * root + 2 * t * (1 - t) * np.array(bend) + t**2 * np.array(end)
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
