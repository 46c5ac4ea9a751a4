"""The command line: spellings that mean the same, and requests that are refused in one line."""

import re
from dataclasses import fields

import pytest
from refusals import refused

from configs.errors import UsageError
from configs.model_size import check_classes
from configs.settings import Settings, parse_settings


def settings(*argv):
    return parse_settings(list(argv), "test")[0]


TRUE = ("", "--do_dense", "--do-dense yes", "--do_dense=TRUE", "--do_dense 1")
FALSE = ("--do_dense False", "--do-dense False", "--do-dense=no", "--DO_DENSE 0")
NEGATED = ("--no-do_dense", "--no-do-dense", "--no_do_dense")


@pytest.mark.parametrize("spelled", [*TRUE, *FALSE, *NEGATED])
def test_spellings_of_true_and_false(spelled):
    assert settings(*spelled.split()).do_dense is (spelled in TRUE)


@pytest.mark.parametrize("name", ["Cub2011", "CUB2011", "cub2011"])
def test_names_in_any_case(name):
    assert settings("--dataset", name).dataset == "CUB2011"
    assert settings("--model_type", "Q-SENN").model_type == "qsenn"  # as the papers write it


def test_defaults_are_the_papers():
    s = settings()
    assert (s.dataset, s.arch, s.model_type, s.img_size) == ("CUB2011", "resnet50", "chiqpm", 224)
    assert (s.n_features, s.n_per_class, s.do_dense, s.reduced_strides) == (50, 5, True, True)
    assert s.weights == "imagenet" and s.seed is None and s.crop


def test_synthetic_birds_bring_their_own_defaults_and_a_given_flag_wins():
    s = settings("--dataset", "SyntheticBirds")
    assert (s.arch, s.img_size, s.weights, s.n_features) == ("local15", 64, "none", 20)
    assert settings("--dataset", "SyntheticBirds", "--img_size", "96").img_size == 96


def test_imagenet_starts_from_the_pretrained_model():
    assert settings("--dataset", "ImageNet").do_dense is False
    assert settings("--dataset", "ImageNet", "--do_dense").do_dense is True


def test_cropping_has_no_effect_where_there_are_no_boxes():
    assert settings("--dataset", "StanfordCars", "--cropGT", "True").crop is False


def test_data_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CHIQPM_DATA", str(tmp_path))
    assert settings().data_root == str(tmp_path)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--dataset", "Birds"), "unknown dataset 'Birds'; choose one of CUB2011"),
        (("--model_type", "pipnet"), "unknown model_type 'pipnet'"),
        (("--do_dense", "maybe"), "neither true nor false"),
        (("--n_per_class", "51"), "--n_per_class 51 is more than --n_features 50"),
        (("--n_features", "0"), "argument --n_features: it must be at least 1, not 0"),
        (("--n_features", "many"), "--n_features"),
        (("--img_size", "0"), "--img_size: it must be at least 1"),
        (("--batch_size", "1"), "--batch_size: it must be at least 2"),
        (("--schedule_scale", "0"), "--schedule_scale: it must be more than 0, not 0"),
        (("--schedule_scale", "nan"), "--schedule_scale: it must be more than 0 and finite, not nan"),
        (("--arch", "timm/"), "'timm/' names no backbone"),
        (("--redundancy_threshold", "nan"), "a redundancy or the word published, not 'nan'"),
        (("--workers", "-1"), "--workers: it must be at least 0"),
        (("--seed", "-3"), "--seed: it must be at least 0 and below 4294967296, not -3"),
        (("--seed",), "expected one argument"),
        (("--seed=--",), "--seed: '--' is not a value"),
        (("--batch_size", "9" * 30), "999 is too large"),
        (("--set", "dense.lr=1e300"), "dense.lr=1e300: 1e300 is too large"),
        (("--coverage", "1.5"), "it must be more than 0 and below 1, not 1.5"),
        (("--coverage", "0.9", "zero"), "--coverage"),
        (("--do_dense", "False", "--weights", "none"), "--do_dense False needs a trained backbone"),
        (("--n_feature", "10"), "did you mean --n_features?"),
        (("CUB2011",), "unexpected argument 'CUB2011'"),
        (("–dataset", "CUB2011"), "flags begin with two hyphens"),
    ],
)
def test_bad_requests_are_refused_in_one_line(argv, message):
    with refused(UsageError, message):
        settings(*argv)


def test_more_classes_than_feature_sets_are_refused():
    s = settings("--n_features", "4", "--n_per_class", "2")
    with pytest.raises(UsageError, match="only 6 sets"):
        check_classes(s, n_classes=7)
    check_classes(s, n_classes=6)


def test_a_file_of_weights_is_known_wherever_a_later_command_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["--weights", "some/relative.pt"]
    assert parse_settings(argv, "")[0].weights == str(tmp_path / "some" / "relative.pt")


def test_help_shows_every_flag_in_its_group(capsys):
    with pytest.raises(SystemExit) as stop:
        settings("--help")
    text = capsys.readouterr().out
    assert stop.value.code == 0
    groups = re.split(r"^(\S.*):\n", text, flags=re.MULTILINE)[1:]
    shown = dict(zip(groups[::2], groups[1::2], strict=True))
    for f in fields(Settings):
        assert f"--{f.name} " in shown[f.metadata["group"]], f.name
    assert "(default: 50;" in shown["model"]
