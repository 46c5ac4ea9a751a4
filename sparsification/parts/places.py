"""Where something is in an image, relative to landmarks.

An object is moved, rotated, mirrored and scaled from image to image, and its parts with it. So the position of a part
is a linear function of the positions of other parts, the same in all images: its place.
"""

import torch
from torch import Tensor

from configs.recipes import GroupsRecipe, PlacesRecipe


def fit_place(
    landmarks: Tensor, positions: Tensor, shown: Tensor, recipe: GroupsRecipe | PlacesRecipe, least: float = 0
) -> tuple[Tensor, bool]:
    """The place of something, by least squares over the images in which it is near that place.

    It is fitted repeatedly, each time without the images in which it was far off, where it is probably hidden.

    Args:
        landmarks: their positions in every image, `[N, L, 2]`.
        positions: of the thing itself, `[N, 2]`.
        shown: the images that show it, `[N]` bool.
        recipe: defines what is near, and how often the place is fitted.
        least: share of these images in which it must be near its place.

    Returns:
        The place, `[2 L + 1, 2]`, for `at_place`; and whether it is near its place in more than that share.
    """
    near = shown
    for _ in range(recipe.fits):
        place = torch.linalg.lstsq(_with_one(landmarks[near]), positions[near]).solution
        near = shown & ((at_place(landmarks, place) - positions).norm(dim=1) <= recipe.near)
        if near.sum() <= least * shown.sum():
            return place, False
    return place, True


def at_place(landmarks: Tensor, place: Tensor) -> Tensor:
    """The position that a place has among landmarks: `[..., L, 2]` and `[..., 2 L + 1, 2]` -> `[..., 2]`."""
    return (_with_one(landmarks)[..., None, :] @ place)[..., 0, :]


def _with_one(landmarks: Tensor) -> Tensor:
    """The arguments of the linear function: all coordinates, and 1; `[..., L, 2]` -> `[..., 2 L + 1]`."""
    flat = landmarks.flatten(-2)
    return torch.cat([flat, torch.ones_like(flat[..., :1])], dim=-1)
