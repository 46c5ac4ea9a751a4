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
