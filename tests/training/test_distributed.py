"""Runs in two processes (gloo) under torchrun, held against the same run in one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_datasets import make_cub

from configs.errors import UsageError
from configs.hardware import Hardware
from configs.runs import dense_results_file, sparse_results_file
from configs.settings import Settings
from dataset_classes.registry import load_data
from training.batches import SeededImages, epoch_batches

# Every process draws its own dropout; without it the number of processes changes nothing but the order of sums. In
# single precision rounding soon makes another network of that, so these are double.
EXACTLY = """
import torch
torch.set_default_dtype(torch.float64)
torch.nn.Dropout.forward = lambda self, features: features
from configs.hardware import Hardware
Hardware.to_device = lambda self, images: images.double()
import main
from configs.script import run_script
run_script(main.main)
"""
FLAGS = (  # noqa: SIM905
    "--dataset CUB2011 --arch resnet18 --weights none --img_size 32 --n_features 8 --n_per_class 3 --seed 1 "
    "--schedule_scale 0.02 --device cpu --certificate 0 --redundancy_threshold 0.5"
).split()


@pytest.fixture
def run(tmp_path):
    """Runs the pipeline in some processes; returns its folder and what it printed."""
    make_cub(tmp_path / "data", train=6, test=4)
    script = tmp_path / "exactly.py"
    script.write_text(EXACTLY)

    def run(processes: int, *more: str, batch_size=8):
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        log_dir = tmp_path / f"runs{processes}"
        done = subprocess.run(
            [sys.executable, *(launcher if processes > 1 else []), script, *FLAGS, *more,
             "--data_root", tmp_path / "data", "--log_dir", log_dir, "--batch_size", str(batch_size)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True, text=True,
        )  # fmt: skip
        return log_dir / "resnet18" / "CUB2011_crop" / "1", done

    return run


@pytest.mark.parametrize("model_type", ["chiqpm", "qsenn"])
def test_two_processes_learn_what_one_learns(run, model_type):
    settings = Settings(dataset="CUB2011", model_type=model_type, n_features=8, n_per_class=3)
    folders = []
    for processes in (1, 2):
        folder, done = run(processes, "--model_type", model_type)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Dense  epoch   1/") == 1  # one process speaks
        folders.append(folder)
    for name in ("Trained_DenseModel.pth", f"{model_type}_8_3_FinetunedModel.pth"):
        one, two = (torch.load(folder / name, weights_only=True) for folder in folders)
        assert list(one) == list(two)
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-5, atol=1e-7, msg=key)
    features = [np.load(folder / "DenseFeatures_train.npy") for folder in folders]
    np.testing.assert_allclose(*features, rtol=1e-5, atol=1e-6)
    for file in (dense_results_file(), sparse_results_file(settings)):
        one, two = (json.loads((folder / file).read_text()) for folder in folders)
        for name in ("Accuracy", "Contrastiveness", "Dependence"):
            assert one[name] == pytest.approx(two[name], rel=1e-5), name


def test_a_batch_that_cannot_be_shared_equally_is_refused(run):
    _, done = run(2, batch_size=9)
    lines = {line for line in done.stderr.splitlines() if "a batch of 9 images" in line}
    assert done.returncode != 0
    assert len(lines) == 1 and "choose another --batch_size" in lines.pop()
    # torchrun itself ends with a traceback; ours would name the error
    assert "configs.errors" not in done.stderr


@pytest.mark.parametrize(("n_images", "expected"), [(7, [3]), (8, [4]), (20, [4, 4])])
def test_processes_have_as_many_different_images_of_every_batch(monkeypatch, n_images, expected):
    images = [(torch.zeros(1), i) for i in range(n_images)]
    monkeypatch.setenv("WORLD_SIZE", "2")
    shares = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        batches = epoch_batches(images, 8, Hardware.choose("cpu", 0), seed=3)
        shares.append([labels.tolist() for _, labels in batches])
    for share in shares:
        assert [len(labels) for labels in share] == expected
    seen = [label for share in shares for labels in share for label in labels]
    assert len(set(seen)) == len(seen)
    with pytest.raises(UsageError, match="1 training images cannot be shared by 2 processes"):
        epoch_batches(images[:1], 8, Hardware.choose("cpu", 0), seed=3)


def test_augmentation_does_not_depend_on_who_loads(tmp_path):
    make_cub(tmp_path, train=3, test=2)
    images = load_data("CUB2011", tmp_path, img_size=32, crop_gt=True).train
    seeded = SeededImages(images, seed=5)
    batches = [
        torch.cat([batch for batch, _ in torch.utils.data.DataLoader(seeded, 2, num_workers=n)])
        for n in (0, 2)
    ]
    assert torch.equal(*batches)
    assert not torch.equal(batches[0][0], SeededImages(images, seed=6)[0][0])
    state = torch.get_rng_state()
    _ = seeded[0]
    assert torch.equal(state, torch.get_rng_state())  # dropout goes on as if nothing had been drawn


def test_loading_processes_share_images_that_were_read_before(tmp_path):
    make_cub(tmp_path, train=3, test=2)
    images = load_data("CUB2011", tmp_path, img_size=32, crop_gt=True).train
    images.preload(threads=2)
    for path in images.paths:
        os.remove(path)
    loader = torch.utils.data.DataLoader(images, batch_size=2, num_workers=2)
    assert sum(len(labels) for _, labels in loader) == len(images)
