"""A model's card lies in the model's file, travels with it, and changes when the model does."""

import shutil
import signal
import zipfile

import pytest
import torch
from fake_datasets import save_image

from architectures.checkpoints import load_state_dict, save_tensors
from configs.model_card import ModelCard

CARD = ModelCard({"arch": "resnet18", "coverage": [0.9]}, {"classes": ["Größe", "\udce9"]}, {"train": "a"})
STATE = {"linear.weight": torch.arange(6.0).reshape(2, 3)}


def write(path, card=CARD):
    save_tensors(STATE, path)
    card.add_to(path)
    return path


def test_a_card_is_read_back_and_the_tensors_are_as_before(tmp_path):
    path = write(tmp_path / "model.pth")
    assert ModelCard.read(path) == CARD
    assert torch.equal(load_state_dict(path)["linear.weight"], STATE["linear.weight"])
    mapped = torch.load(path, weights_only=True, mmap=True)  # as any other program reads it
    assert list(mapped) == list(STATE) and torch.equal(*(d["linear.weight"] for d in (mapped, STATE)))


def test_equal_models_with_equal_cards_are_equal_files(tmp_path):
    assert write(tmp_path / "a.pth").read_bytes() == write(tmp_path / "b.pth").read_bytes()


@pytest.mark.parametrize("content", ["[1]", "{", "{}", '{"settings": 1, "data": {}, "images": {}}', "[" * 10**5])
def test_what_is_no_card_counts_as_none(tmp_path, content):
    path = tmp_path / "model.pth"
    save_tensors(STATE, path)
    assert ModelCard.read(path) is None
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/card.json", content)
    assert ModelCard.read(path) is None
    path.write_text(content)
    assert ModelCard.read(path) is None and ModelCard.read(tmp_path / "none.pth") is None


def test_wherever_a_run_on_other_images_is_killed_every_model_has_its_own_card(launcher, whole_run):
    shutil.copytree(launcher.folder / "data", launcher.folder / "other")
    picture = next((launcher.folder / "other").rglob("images/*/*.jpg"))
    labels = next((launcher.folder / "other").rglob("train_test_split.txt"))
    lines = labels.read_text().splitlines()
    lines[:2] = [f"1 {1 - int(lines[0][-1])}", f"2 {1 - int(lines[1][-1])}"]
    labels.write_text("\n".join(lines) + "\n")
    save_image(picture, (1, 2, 3))
    shutil.copytree(launcher.run_folder("whole"), launcher.run_folder("overwritten"))
    other = ("--data_root", str(launcher.folder / "other"))
    refused = launcher.run("overwritten", *other)
    assert refused.code == 2 and "--overwrite" in refused.errors
    assert launcher.results("overwritten") == whole_run.results
    paths = [*launcher.run_folder("overwritten").glob("*.pth")]
    assert len(paths) == 2
    before = {path: (path.read_bytes(), ModelCard.read(path).images) for path in paths}
    dense, sparse = "Trained_DenseModel.pth", "chiqpm_8_3_FinetunedModel.pth"
    for event in (f"created {dense}", f"replaced {dense}", f"created {sparse}", f"replaced {sparse}"):
        ended = launcher.run("overwritten", *other, "--overwrite", do="kill", at=[event])
        assert ended.code == -signal.SIGKILL, ended.errors
        for path in paths:
            content, images = before[path]
            assert (path.read_bytes() == content) == (ModelCard.read(path).images == images)
    assert all(ModelCard.read(path).images != before[path][1] for path in paths)
