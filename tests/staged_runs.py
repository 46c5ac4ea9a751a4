"""Runs whose stages a test calls one by one."""

from pathlib import Path

import torch
from torch import Tensor

from architectures.backbones.registry import backbone_of
from architectures.classifier import InterpretableClassifier
from architectures.finished_model import load_finished_model
from configs.hardware import Hardware
from configs.open_run import OpenRun
from configs.run_folder import RunFolder
from configs.settings import parse_settings
from dataset_classes.registry import data_of
from sparsification.features import dense_features
from sparsification.select import select_features
from training.finetune import finetune


def open_run(flags: str, folder: Path) -> OpenRun:
    """A run of some flags of main.py in a folder, on the CPU."""
    (settings,) = parse_settings(flags.split(), "")
    data = data_of(settings, backbone_of(settings))
    return OpenRun(settings, RunFolder(folder), Hardware.choose("cpu", 0), data)


def made_and_loaded(run: OpenRun, dense: InterpretableClassifier) -> list[InterpretableClassifier]:
    """The sparse model that a run makes of its dense one, and the same as other scripts load it."""
    layer = select_features(run, dense_features(run, dense), dense)
    trained = finetune(run, dense, layer).eval()
    return [trained, load_finished_model(run.settings, run.folder, run.data.train.classes, run.hardware)]


def images_to_test(run: OpenRun) -> Tensor:
    """All test images of a run, `[N, 3, S, S]`."""
    return torch.stack([run.data.test[i][0] for i in range(len(run.data.test))])
