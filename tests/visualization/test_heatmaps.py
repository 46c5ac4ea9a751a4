"""Heatmaps: against the golden cases, their scale, and the overlay."""

import numpy as np
import pytest
import torch

from visualization.heatmaps import certainty, heatmap, overlay


@pytest.mark.parametrize("case", ["heatmap_1", "heatmap_2"])
def test_heatmap_is_the_published_one_up_to_the_batch_peak(golden, case):
    case = golden(case)
    gamma, size = float(case["in_gamma"]), tuple(case["in_target_size"])
    scale = np.minimum(1, case["in_values"] / case["in_active_mean"][:, None])
    for maps, scales, expected in zip(case["in_feature_maps"], scale, case["out_heatmap"], strict=True):
        ours = torch.stack([heatmap(m, size, s, gamma) for m, s in zip(maps, scales, strict=True)])
        peaks = ours.amax(dim=(1, 2), keepdim=True)
        np.testing.assert_allclose(ours * (peaks / peaks.max()) ** gamma, expected, atol=1e-4)


def test_many_maps_at_once_are_each_treated_alone():
    maps, scale = torch.rand(3, 2, 5, 4), torch.rand(3, 2)
    together = heatmap(maps, (11, 9), scale)
    torch.testing.assert_close(together[2, 1], heatmap(maps[2, 1], (11, 9), scale[2, 1]))


def test_peak_is_the_certainty_and_never_more_than_one():
    spot = torch.zeros(7, 7, dtype=torch.int64)
    spot[2:5, 2:5] = 4
    assert heatmap(spot, 70, 0.25).max() == pytest.approx(0.25, abs=1e-6)
    assert heatmap(spot, 70, 9.0).max() == pytest.approx(1.0, abs=1e-6)
    assert heatmap(spot, 70, -1.0).max() == 0


def test_a_constant_map_is_blank():
    assert heatmap(torch.full((4, 4), 3.0), (8, 8)).abs().max() == 0
    with pytest.raises(ValueError, match="2 dimensions"):
        heatmap(torch.ones(4), (8, 8))


def test_certainty_survives_a_feature_that_is_never_active():
    values = certainty(torch.tensor([[0.0, 1.0, -2.0]]), torch.tensor([0.0, 2.0, 1.0]))
    assert values.tolist() == [[0.0, 0.5, 0.0]]


def test_overlay_is_grey_outside_and_coloured_at_the_peak():
    heat = np.zeros((8, 8))
    heat[4, 4] = 1.0
    picture = overlay(np.full((8, 8, 3), 0.5), heat, (1.0, 0.0, 0.0)).astype(int)
    assert np.ptp(picture[0, 0]) == 0
    assert picture[4, 4, 0] - picture[4, 4, 1] > 150 and picture[4, 4, 1] == picture[4, 4, 2]
