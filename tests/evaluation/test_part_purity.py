"""Part purity, consistency and stability on keypoints placed by hand, and on a tiny CUB with keypoints."""

import numpy as np
import pytest
import torch
from fake_datasets import BOX, SIZE, load, make_cub
from refusals import refused

from architectures.inference import FeatureTable, FeatureTables
from configs.errors import RunError
from dataset_classes.keypoints import Keypoints
from evaluation.part_purity import (
    PATCH,
    Disturbed,
    consistency,
    keypoint_results,
    part_purity,
    parts_of_patches,
    stability,
)

EYE = (0.6, 0.3)  # x, y


def keypoints(visible) -> Keypoints:
    """Images whose left eye, right eye and tail lie at the same places."""
    locations = np.tile([EYE, EYE, (0.1, 0.99)], (len(visible), 1, 1))
    return Keypoints(("left eye", "right eye", "tail"), locations, np.array(visible, dtype=bool))


def test_a_feature_on_the_left_or_the_right_eye_is_pure():
    points = keypoints([[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]])
    peaks = torch.tensor([EYE[::-1]]).expand(4, 1, 2) + 0.4 * PATCH
    purity, share = part_purity(torch.ones(4, 1), *parts_of_patches(peaks, points))
    # The last image shows no eye: the published code leaves it out, the share of all patches does not.
    assert (purity.item(), share.item()) == (1, 0.75)
    assert part_purity(torch.ones(4, 1), *parts_of_patches(peaks + 0.2 * PATCH, points))[0].item() == 0


def test_a_patch_at_the_edge_is_moved_inside():
    peaks = torch.tensor([[[0.99, 0.1]], [[0.99, 0.1]]])
    points = keypoints([[0, 0, 1], [0, 0, 1]])
    # A patch that only ended at the edge would not reach it.
    points.locations[:, 2, 1] = 1 - 0.9 * PATCH
    assert part_purity(torch.ones(2, 1), *parts_of_patches(peaks, points))[0].item() == 1


def test_purity_looks_at_the_strongest_images_only():
    points = keypoints([[1, 1, 1]] * 12)
    peaks = torch.tensor([EYE[::-1]]).repeat(12, 1, 1)
    peaks[:2] = 0.9
    pooled = torch.arange(12.0).unsqueeze(1)
    parts = parts_of_patches(peaks, points)
    assert part_purity(pooled, *parts)[0].item() == 1
    assert part_purity(-pooled, *parts)[0].item() == pytest.approx(0.8)


def test_the_strongest_patches_need_not_be_in_the_images_where_the_mean_of_a_map_is_largest():
    points = keypoints([[1, 1, 1]] * 20)
    peaks = torch.full((20, 1, 2), 0.9)
    peaks[:10] = torch.tensor(EYE[::-1])
    means, labels = torch.arange(20.0).unsqueeze(1), torch.zeros(20, dtype=torch.long)
    table = FeatureTable(means, means, labels, labels, peaks, peak_values=-means)
    results = keypoint_results(torch.ones(1, 1), FeatureTables(table, table), (points, points), peaks[:10])
    assert (results["Part purity, test"], results["Part purity, test, strongest patches"]) == (0, 1)


def test_consistent_and_stable_features_are_counted_per_class():
    labels, weight = torch.tensor([0] * 5 + [1] * 5), torch.tensor([[1, 1], [0, 1], [1, 0]])
    inside = torch.zeros(10, 2, 1, dtype=torch.bool)
    inside[:4, 0] = True  # feature 0 in class 0: 4 of 5 images
    inside[5:8, 1] = True  # feature 1 in class 1: 3 of the 4 images that show the part
    visible = torch.ones(10, 1, dtype=torch.bool)
    visible[9] = False
    # Class 2 has no image, and a feature that a class does not have does not count.
    assert consistency(inside, visible, labels, weight) == pytest.approx(1 / 3)
    disturbed = inside.clone()
    disturbed[0, 0], disturbed[5:7, 1], disturbed[5, 0] = False, False, True
    assert stability(inside, disturbed, labels, weight) == pytest.approx((4 / 5 + 1 + 3 / 5) / 3)


def test_noise_is_the_same_every_time_and_small():
    images = [(torch.zeros(3, 8, 8), 0), (torch.zeros(3, 8, 8), 1)]
    disturbed = Disturbed(images, np.array([1, 0]))
    image, label = disturbed[0]
    assert label == 1 and 0 < image.std() < 0.2 and image.abs().max() <= 0.25
    assert torch.equal(image, Disturbed(images, np.array([1]))[0][0])


def write_parts(root, lines):
    """`parts/` with a beak, and a left eye, in the middle of the box of every image."""
    parts = root / "CUB200/CUB_200_2011/parts"
    parts.mkdir()
    (parts / "parts.txt").write_text("1 beak\n2 left eye\n")
    (parts / "part_locs.txt").write_text("\n".join(lines))


def test_keypoints_of_cub_follow_crop_and_resize(tmp_path):
    x, y, width, _ = BOX
    root = make_cub(tmp_path)
    assert load("CUB2011", root).test.keypoints() is None
    write_parts(root, [f"{i} 1 {x + width / 4} {y} 1\n{i} 2 {x + width} 1.0 1" for i in range(1, 10)])
    cropped = load("CUB2011", root).test.keypoints()
    np.testing.assert_allclose(cropped.locations[:, 0], np.tile([0.25, 0], (3, 1)), atol=1e-6)
    assert cropped.visible.tolist() == [[True, False]] * 3  # the eye lies above the box
    whole = load("CUB2011", root, crop_gt=False).test.keypoints()
    # 40 x 30 pixels become 42 x 32, of which the middle 32 x 32 stay.
    at = ((x + width / 4) / SIZE[0] * 42 - 5) / 32, y / SIZE[1]
    np.testing.assert_allclose(whole.locations[0, 0], at, atol=1e-6)
    assert whole.visible.all()


def test_broken_keypoints_are_named(tmp_path):
    root = make_cub(tmp_path)
    write_parts(root, ["1 1 3.0 left 1"])
    with refused(RunError, "part_locs.txt"):
        load("CUB2011", root).test.keypoints()
