"""A finished model sees images as in its training, whatever dataset is there today."""

import logging
from dataclasses import replace

import pytest
import torch
from fake_datasets import make_image_folder
from state_files import save

from architectures.backbones.registry import backbone_of
from configs.files import sha256
from configs.model_card import ModelCard
from configs.run_folder import RunFolder
from configs.settings import parse_settings
from dataset_classes.description import DataDescription
from dataset_classes.pixels import PixelScale
from dataset_classes.registry import data_of, data_of_model, listed_images

FLAGS = "--dataset ImageFolder --arch resnet18 --img_size 32 --weights none --n_features 8 --n_per_class 3"
SCALE = PixelScale({"16-bit": (0.0, 4095.0)})


@pytest.fixture
def made(tmp_path):
    """Settings, folder and images of a model whose card says an odd transform and scale."""
    make_image_folder(tmp_path / "birds", train=3, test=2)
    settings, *_ = parse_settings([*FLAGS.split(), "--data_root", str(tmp_path / "birds")], "")
    data = data_of(settings, backbone_of(settings))
    resize = replace(data.test.transform.resize, interpolation="bicubic")
    odd = replace(data.test.transform, mean=(0.1, 0.2, 0.3), resize=resize)
    about = DataDescription(data.test.classes, odd, SCALE).as_dict()
    path = tmp_path / "run" / "chiqpm_8_3_FinetunedModel.pth"
    path.parent.mkdir()
    save({}, path, ModelCard(settings.as_dict(), about, data.fingerprints()))
    return settings, RunFolder(path.parent), odd


def test_test_and_plain_training_images_are_seen_as_in_the_training(made, caplog):
    settings, folder, odd = made
    with caplog.at_level(logging.WARNING):
        data = data_of_model(settings, folder, backbone_of(settings))
    assert data.test.transform == data.train_unaugmented.transform == odd
    assert data.test.scale == data.train_unaugmented.scale == SCALE
    assert not [line for line in caplog.messages if "not those that" in line]


def test_other_images_of_the_same_classes_are_named(made, tmp_path, caplog):
    settings, folder, odd = made
    make_image_folder(tmp_path / "more", train=3, test=3)
    settings = replace(settings, data_root=str(tmp_path / "more"))
    with caplog.at_level(logging.WARNING):
        data = data_of_model(settings, folder, backbone_of(settings))
    (said,) = (line for line in caplog.messages if "not those that" in line)
    assert said.startswith(f"The test images under {tmp_path / 'more'}")
    assert data.test.transform == odd


def test_a_list_of_images_that_the_model_was_not_made_with_is_not_used(made, tmp_path, caplog):
    settings, folder, _ = made
    images = data_of(settings, backbone_of(settings)).image_list()
    path = folder.file("images.csv")
    images.write(path)
    model = folder.file("chiqpm_8_3_FinetunedModel.pth")
    card = ModelCard.read(model)
    torch.save({}, model)
    replace(card, images={**card.images, "listed": sha256(path)}).add_to(model)
    assert listed_images(settings, folder) == images
    # As of a run that was killed since.
    path.write_text(path.read_text().replace("test,", "train,"))
    with caplog.at_level(logging.WARNING):
        assert listed_images(settings, folder) is None
    assert "images.csv is not the list that chiqpm_8_3 was made with" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_images_that_are_held_out_make_no_other_images(made, share):
    settings, _, _ = made
    whole = data_of(settings, backbone_of(settings))
    part = data_of(replace(settings, validation=share), backbone_of(settings))
    assert part.fingerprints() == whole.fingerprints()
    assert (part.held_out is None) == (share == 0)
