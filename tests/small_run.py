"""A small finished run without training: what the figure scripts and predict.py are tried on."""

import json
import re
from pathlib import Path

import numpy as np
import torch
from fake_datasets import load
from PIL import Image

from architectures.classifier import build_dense_model
from architectures.inference import FeatureTables, feature_tables
from architectures.sparse_head import SparseHead
from configs.finished_run import finished_run
from configs.open_run import OpenRun
from configs.records import write_config
from configs.run_files import IMAGE_LIST, sparse_model_file
from conformal.calibrate import calibrate
from conformal.predictor import ConformalPredictor
from dataset_classes.description import DataDescription, model_card
from dataset_classes.registry import open_finished
from sparsification.constants import class_means

CLASSES = ["Bronzed_Cowbird", "Fish_Crow", "Mallard", "Shiny_Cowbird"]
WEIGHT = torch.tensor([[1.0, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 1, 1]])


def page(path: Path) -> dict:
    """The data inside a report."""
    found = re.search(r'id="report">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(found.group(1))


def make_small_run(root: Path) -> list[str]:
    """Flags that lead to a finished run: patterned images, and random features that tell them apart."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 255, (len(CLASSES), 6, 6, 3))
    for split, count in (("train", 6), ("test", 14)):
        for pattern, name in zip(patterns, CLASSES, strict=True):
            folder = root / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                noisy = (pattern + rng.normal(0, 90, pattern.shape)).clip(0, 255)
                Image.fromarray(noisy.astype(np.uint8)).resize((32, 32)).save(folder / f"{i}.png")
    data = load("ImageFolder", root / "data")
    torch.manual_seed(0)
    model = build_dense_model("resnet18", len(CLASSES)).eval()
    images = torch.stack([data.train_unaugmented[i][0] for i in range(len(data.train))])
    with torch.inference_mode():
        pooled = model.backbone(images).mean(dim=(2, 3))
    # For every column of the weight the random feature that follows it best over the classes.
    by_class = class_means(pooled, torch.from_numpy(data.train.labels)).float()
    similarity = torch.corrcoef(torch.cat([WEIGHT.T, by_class.T]))[: WEIGHT.shape[1], 6:]
    selection = similarity.nan_to_num(-1).argmax(dim=1)
    mean, std = pooled[:, selection].mean(dim=0), pooled[:, selection].std(dim=0)
    model.set_sparse_head(SparseHead(selection, WEIGHT, mean, std, relu=True))
    folder = root / "logs" / "resnet18" / "ImageFolder" / "7"
    folder.mkdir(parents=True)
    for model_type in ("chiqpm", "qpm"):  # whether there is a ReLU is no part of the state
        torch.save(model.state_dict(), folder / f"{model_type}_6_3_FinetunedModel.pth")
    signed = WEIGHT * torch.tensor([1, 1, 1, -1, 1, 1])
    for model_type, weight in (("qsenn", signed), ("sldd", signed * torch.linspace(0.5, 2, 6))):
        bias = torch.linspace(-0.5, 0.5, len(CLASSES))
        model.set_sparse_head(SparseHead(selection, weight, mean, std, bias))
        torch.save(model.state_dict(), folder / f"{model_type}_6_3_FinetunedModel.pth")
    flags = {
        "dataset": "ImageFolder",
        "data_root": root / "data",
        "log_dir": root / "logs",
        "arch": "resnet18",
        "img_size": 32,
        "reduced_strides": True,
        "n_features": 6,
        "n_per_class": 3,
        "device": "cpu",
        "workers": 0,
    }
    return [str(word) for name, value in flags.items() for word in (f"--{name}", value)]


def left_by_main(flags: list[str]) -> tuple[OpenRun, FeatureTables, ConformalPredictor]:
    """A small run with all that main.py leaves: images.csv, the model's card, tables, calibration and config.json."""
    settings, folder = finished_run(flags, "")
    run, model = open_finished(settings, folder)
    run.data.image_list().write(folder.file(IMAGE_LIST))
    model_card(run).add_to(folder.file(sparse_model_file(settings)))
    tables = feature_tables(run, model)
    predictor = calibrate(run, model.class_weight, tables.test)
    write_config(settings, folder, run.hardware.device, DataDescription.of(run.data.test).as_dict())
    return run, tables, predictor
