"""Drawn birds whose parts are known: vector shapes, antialiased, in the spirit of FunnyBirds (ICCV 2023).

A bird is a look for each of its five parts. Every shape is drawn twice, once in colour and once into a map of which
part covers which pixel; the map tells where each part is and whether clutter hides it.
"""

from dataclasses import dataclass

import numpy as np

from dataset_classes import bird_parts
from dataset_classes.bird_scene import Scene
from dataset_classes.bird_scenery import draw_background, draw_clutter, draw_perch

VISIBLE_SHARE = 0.5  # of a part's pixels that clutter must leave uncovered


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
    scene = Scene(size, rng, bird_parts.PART_NAMES)
    draw_background(scene)
    scene.take_pose()
    draw_perch(scene)
    head, beak, wing, belly, tail = looks
    scene.part("tail", bird_parts.TAILS[tail])
    bird_parts.draw_body(scene)
    scene.part("belly", bird_parts.BELLIES[belly])
    scene.part("wing", bird_parts.WINGS[wing])
    scene.part("beak", bird_parts.BEAKS[beak])
    scene.part("head", bird_parts.HEADS[head])
    bird_parts.draw_eye(scene)
    locations, areas = scene.part_centres(), scene.part_areas()
    draw_clutter(scene, locations)
    return DrawnBird(scene.finish(), locations, scene.part_areas() >= VISIBLE_SHARE * areas)
