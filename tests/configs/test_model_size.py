"""How many features models get where that is not asked for."""

from math import comb

import pytest

from configs.model_size import check_classes, model_size, with_model_size
from configs.settings import check, parse_settings


@pytest.mark.parametrize(
    ("n_classes", "expected"),
    [(2, (4, 3)), (3, (6, 3)), (5, (10, 3)), (10, (20, 3)), (24, (48, 3)), (25, (50, 5)), (196, (50, 5))],
)
def test_few_classes_get_few_features(n_classes, expected):
    assert model_size(n_classes, None, None, available=1280) == expected


@pytest.mark.parametrize("model_type", ["chiqpm", "qpm", "qsenn", "sldd"])
@pytest.mark.parametrize("given", [[], ["--n_features", "12"], ["--n_per_class", "2"]])
def test_what_is_chosen_is_possible_and_flags_win(model_type, given):
    for n_classes in (2, 3, 4, 5, 10, 24, 25, 60):
        (asked,) = parse_settings(["--dataset", "ImageFolder", "--model_type", model_type, *given], "")
        settings = with_model_size(asked, n_classes=n_classes, available=512)
        check(settings)
        check_classes(settings, n_classes)
        assert comb(settings.n_features, settings.n_per_class) >= n_classes
        for name in ("n_features", "n_per_class"):
            assert getattr(asked, name) in (None, getattr(settings, name))


@pytest.mark.parametrize("dataset", ["CUB2011", "StanfordCars", "ImageNet"])
def test_named_datasets_keep_the_published_numbers(dataset):
    (settings,) = parse_settings(["--dataset", dataset], "")
    assert settings.model_name == "chiqpm_50_5"


def test_the_choice_is_one_line_and_names_the_files(caplog):
    caplog.set_level("INFO")
    (settings,) = parse_settings(["--dataset", "ImageFolder"], "")
    assert with_model_size(settings, n_classes=10, available=512).model_name == "chiqpm_20_3"
    (line,) = (record.message for record in caplog.records)
    assert line.startswith("10 classes: the model gets 20 features, each class 3 of them")
