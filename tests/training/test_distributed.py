"""Runs in two processes (gloo) under torchrun, held against the same run in one."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_datasets import make_cub
from forked_runs import tiny_run

from configs.errors import UsageError
from configs.hardware import Hardware
from dataset_classes.registry import load_data
from training.batches import SeededImages, epoch_batches

# Every process draws its own dropout; without it the number of processes changes nothing but the order of sums. In
# single precision rounding soon makes another network of that, so these are double. Starting Python three times takes
# longer than the runs, so the same processes do one after the other.
RUN_AFTER_RUN = """
import json, sys, torch
torch.set_default_dtype(torch.float64)
torch.nn.Dropout.forward = lambda self, features: features
from architectures.backbones import resnet
from configs import processes
from configs.hardware import Hardware
from configs.script import run_script
from forked_runs import FEW_STRENGTHS, narrow_layout
from sparsification.glm import path
resnet.LAYOUTS["resnet18"], path.N_STRENGTHS = narrow_layout(), FEW_STRENGTHS
Hardware.to_device = lambda self, images: images.double()
processes.leave = lambda: None
import main
for flags in json.loads(sys.argv[1]):
    sys.argv = ["main.py", *flags]
    run_script(main.main)
"""
MODEL_TYPES = ("chiqpm", "qsenn")  # the second has the dense model of the first


@dataclass(frozen=True)
class Done:
    """What some processes left and said."""

    folder: Path
    process: subprocess.CompletedProcess


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[int, Done]:
    """By number of processes: a run of every model type, then one whose batch two processes cannot share."""
    root, tests = tmp_path_factory.mktemp("distributed"), Path(__file__).parents[1]
    make_cub(root / "data", train=6, test=4)
    script = root / "run_after_run.py"
    script.write_text(RUN_AFTER_RUN)
    search = os.pathsep.join(map(str, (tests.parent, tests)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": search}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = {}
    for count, launcher in ((1, []), (2, torchrun)):
        places = {"data_root": root / "data", "log_dir": root / str(count)}
        flags = [tiny_run(schedule_scale=0.02, model_type=t, **places) for t in MODEL_TYPES]
        flags += [[*flags[0], "--batch_size", "9"]] * (count == 2)
        process = subprocess.run(
            [sys.executable, *launcher, script, json.dumps(flags)], env=environment, capture_output=True, text=True
        )
        done[count] = Done(root / str(count) / "resnet18" / "CUB2011_crop" / "1", process)
    return done


def test_two_processes_learn_what_one_learns(runs):
    assert runs[1].process.returncode == 0, runs[1].process.stderr
    for done in runs.values():  # one process speaks
        assert done.process.stdout.count("Dense  epoch   1/") == 1, done.process.stderr
    folders = [done.folder for done in runs.values()]
    models = [f"{kind}_8_3_FinetunedModel.pth" for kind in MODEL_TYPES]
    for name in ("Trained_DenseModel.pth", *models):
        one, two = (torch.load(folder / name, weights_only=True) for folder in folders)
        assert list(one) == list(two)
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-5, atol=1e-7, msg=f"{name}: {key}")
    features = [np.load(folder / "DenseFeatures_train.npy") for folder in folders]
    np.testing.assert_allclose(*features, rtol=1e-5, atol=1e-6)
    for file in ("Results_DenseModel.json", *(f"Results_{Path(m).stem}.json" for m in models)):
        one, two = (json.loads((folder / file).read_text()) for folder in folders)
        for name in ("Accuracy", "Contrastiveness", "Dependence"):
            assert one[name] == pytest.approx(two[name], rel=1e-5), (file, name)


def test_a_batch_that_cannot_be_shared_equally_is_refused(runs):
    process = runs[2].process
    lines = {line for line in process.stderr.splitlines() if "a batch of 9 images" in line}
    assert process.returncode != 0
    assert len(lines) == 1 and "choose another --batch_size" in lines.pop()
    # torchrun itself ends with a traceback; ours would name the error
    assert "configs.errors" not in process.stderr


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
    batches = [torch.cat([batch for batch, _ in torch.utils.data.DataLoader(seeded, 2, num_workers=n)]) for n in (0, 2)]
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
