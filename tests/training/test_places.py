"""Places are found without labels, and found again in every image."""

from dataclasses import replace

import pytest
import torch
from fake_datasets import make_image_folder
from staged_runs import images_to_test, made_and_loaded, open_run

import main
from architectures.activations import relative_peaks
from architectures.backbones.placed import place_scores
from architectures.classifier import build_dense_model
from configs.errors import RunError
from configs.recipes import PlacesRecipe
from sparsification.features import dense_features
from training.dense import train_dense
from training.forecast import _cost, forecast, measured_pace
from training.places import clearness, find_places
from training.plan import PLACES_COST

SIDE, CHANNELS = 20, 24
QUICK = replace(PlacesRecipe(), starts=1, clusters=30, cells=8000, landmarks=10, images=80)


def scenes(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of six marks on an object that moves, turns and grows, among noise; and where the marks are."""
    shape = torch.tensor([[-1.0, 0], [-0.5, 0.8], [0, -0.9], [0.1, 0.2], [0.7, -0.4], [0.9, 0.7]]) * 0.28
    angle = (torch.rand(n, generator=generator) - 0.5) * 1.2
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(n, 2, 2)
    size = 0.8 + 0.4 * torch.rand(n, 1, 1, generator=generator)
    marks = 0.5 + (torch.rand(n, 1, 2, generator=generator) - 0.5) * 0.2 + size * (shape @ turn)
    cells = (torch.arange(SIDE) + 0.5) / SIDE
    rows, columns = ((-((cells - marks[..., i, None]) ** 2) / (2 * 0.04**2)).exp() for i in (0, 1))
    blobs = rows[..., :, None] * columns[..., None, :]  # [n, 6, SIDE, SIDE]
    looks = torch.randn(6, CHANNELS, generator=generator)
    noise = 0.3 * torch.randn(n, CHANNELS, SIDE, SIDE, generator=generator)
    return (torch.einsum("nphw,pc->nchw", blobs * 4, looks) + noise).half(), marks


def test_found_places_are_marks_of_the_object_in_images_that_were_not_seen():
    generator = torch.Generator().manual_seed(0)
    maps, marks = scenes(400, generator)
    weight, bias = find_places(maps[:200], 6, QUICK, seed=0)
    best = place_scores(maps[:200].float(), weight, bias).amax(dim=(2, 3))
    torch.testing.assert_close(best.median(dim=0).values, torch.zeros(len(weight)), rtol=0, atol=1e-3)
    torch.testing.assert_close(best.std(dim=0), torch.ones(len(weight)), rtol=1e-3, atol=0)
    positions = relative_peaks(place_scores(maps[200:].float(), weight, bias))  # [200, P, 2]
    near = torch.cdist(positions, marks[200:]) < 1.5 / SIDE  # [200, P, 6]
    right, which = near.float().mean(dim=0).max(dim=1)
    assert len(weight) >= 4 and (right > 0.9).sum() >= 4, right
    assert len(which[right > 0.9].unique()) >= 4
    again = find_places(maps[:200], 6, QUICK, seed=0)
    assert torch.equal(again[0], weight) and torch.equal(again[1], bias)


@pytest.mark.parametrize(
    ("maps", "recipe"),
    [
        pytest.param(torch.zeros(4, CHANNELS, SIDE, SIDE).half(), QUICK, id="nothing but edges"),
        pytest.param(scenes(4, torch.Generator().manual_seed(0))[0], replace(QUICK, cells=10), id="few cells"),
    ],
)
def test_where_images_share_little_fewer_places_are_found(maps, recipe):
    weight, bias = find_places(maps, 12, recipe, seed=0)
    assert len(weight) == len(bias) < 12


def test_a_place_is_clear_if_nothing_elsewhere_looks_like_it():
    scores = torch.zeros(1, 3, 16, 16)
    scores[0, :, 4, 4] = 1
    scores[0, 1, 4, 5] = 0.9  # beside it
    scores[0, 2, 12, 4] = 0.9  # elsewhere
    alone, broad, double = clearness(scores, within=0.125)
    assert alone > 0.99 and broad > 0.99 and double == pytest.approx(0.1, abs=0.02)


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    make_image_folder(root, train=6, test=2)
    weights = root.parent / "weights.pth"
    torch.manual_seed(0)
    torch.save(build_dense_model("convnext_atto", 5).state_dict(), weights)
    return (
        f"--dataset ImageFolder --data_root {root} --arch convnext_atto@4places --img_size 96 --weights {weights} "
        "--freeze_backbone --batch_size 4 --seed 0 --eval_every 0 --n_features 4 --n_per_class 3 --certificate 0 "
        "--set dense.epochs=1 dense.views=1 finetune.views=1 finetune.round_epochs=1 "
        "places.starts=4 places.clusters=30 places.cells=1000 places.apart=0.005 places.edge=0"
    )


def test_a_run_finds_its_places_before_training_and_keeps_them(flags, tmp_path, caplog):
    caplog.set_level("INFO")
    run = open_run(flags, tmp_path)
    dense = train_dense(run)
    assert "4 places were found in" in caplog.text
    places = {key: value.clone() for key, value in dense.backbone.places.state_dict().items()}
    (trained, loaded), images = made_and_loaded(run, dense), images_to_test(run)
    with torch.inference_mode():
        assert torch.equal(loaded(images).logits, trained(images).logits)
    for key, value in loaded.backbone.places.state_dict().items():
        assert torch.equal(value, places[key])


def test_fewer_places_than_asked_for_are_an_error(flags, tmp_path):
    run = open_run(flags.replace("places.apart=0.005", "places.apart=0.9"), tmp_path)
    with pytest.raises(RunError, match=r"only 1 place\(s\) were found in .* an --arch with fewer places"):
        train_dense(run)


def test_a_forecast_counts_the_search_for_places(flags, tmp_path):
    run = open_run(flags, tmp_path)
    pace = replace(measured_pace(run), seconds_per_image=1.0)
    assert pace.searched == len(run.data.train)
    others = replace(pace, searched=0)
    searching = _cost(run, "dense", pace, dense=True)[0] - _cost(run, "dense", others, dense=True)[0]
    assert searching == pytest.approx(PLACES_COST * len(run.data.train))
    few = open_run(f"{flags} --set places.values=1", tmp_path)
    assert measured_pace(few).searched == len(run.data.train.classes)  # one image of each


def test_where_the_dense_model_is_not_trained_every_call_searches_and_other_places_make_other_features(flags, tmp_path):
    flags = f"{flags} --do_dense False"
    run = open_run(flags, tmp_path)
    expected = forecast(run, main.pipeline)
    assert "searched for every time" in expected.states["dense"] and "depends on" not in expected.states["features"]
    assert expected.costs["dense"] == pytest.approx(
        (PLACES_COST * len(run.data.train) * expected.pace.seconds_per_image, 0)
    )
    dense_features(run, train_dense(run))
    assert forecast(run, main.pipeline).states["features"] == "reused"
    others = open_run(f"{flags} --set places.candidates=20", tmp_path)
    assert "changed places" in forecast(others, main.pipeline).states["features"]
