"""All figures that explain one image."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.utils.data import TensorDataset

from architectures.backbones.registry import backbone_spec
from architectures.classifier import build_dense_model
from architectures.inference import collect_feature_table
from architectures.sparse_head import SparseLayer, build_head
from benchmarks.loading import CHANNELS
from configs.hardware import Hardware
from configs.model_types import MODEL_TYPES
from conformal import HierarchicalPredictor
from visualization.colours import FeatureColours
from visualization.explainer import ClassImages, Explainer
from visualization.figure import save
from visualization.local_explanation import LocalExplanation

COVERAGE = 0.9


class Pictures(TensorDataset):
    """Random images `[N, 3, side, side]` of named classes."""

    mean, std = CHANNELS

    def __init__(self, n_images: int, n_classes: int, side: int):
        super().__init__(torch.rand(n_images, 3, side, side), torch.arange(n_images) % n_classes)
        self.classes = [f"Class {label}" for label in range(n_classes)]


@contextmanager
def explanation(arch: str, side: int, classes: int, features: int, per_class: int):
    """From one image to four saved figures: heatmaps, comparison of classes, two trees; an untrained network."""
    hardware = Hardware.choose(workers=0)
    torch.manual_seed(0)
    model = build_dense_model(arch, classes, "none")
    model.set_sparse_head(
        build_head(random_layer(arch, classes, features, per_class), MODEL_TYPES["chiqpm"].head)
    )
    pictures = Pictures(2 * classes, classes, side)
    table = collect_feature_table(hardware.place(model), pictures, hardware)
    explainer = Explainer(model, hardware, table, pictures)
    predictor = HierarchicalPredictor(torch.from_numpy(explainer.weight))
    predictor.calibrate(table.features, table.logits, table.labels)

    def draw(folder: Path) -> None:
        seen = explainer.see(pictures[0][0])
        features, logits = (torch.from_numpy(x[None]) for x in (seen.features, seen.logits))
        (members,) = predictor.predict(features, logits, COVERAGE)
        explained = LocalExplanation(
            name="Image 0",
            seen=seen,
            prediction_set=frozenset(members.nonzero().flatten().tolist()),
            coverage=COVERAGE,
            level=predictor.level(COVERAGE),
            n_nearest=3,
            explainer=explainer,
            colours=FeatureColours(explainer.weight),
            class_images=ClassImages(explainer, pictures, table),
        )
        for name, figure in explained.figures().items():
            save(figure, folder / name, ["png"])

    with tempfile.TemporaryDirectory() as folder:
        yield lambda: draw(Path(folder)), None


def random_layer(arch: str, n_classes: int, n_features: int, n_per_class: int) -> SparseLayer:
    """Random backbone features as they are, random ones of them for every class."""
    chosen = torch.rand(n_classes, n_features).argsort(dim=1)[:, :n_per_class]
    weight = torch.zeros(n_classes, n_features).scatter_(1, chosen, 1)
    selection = torch.randperm(backbone_spec(arch).n_features)[:n_features]
    return SparseLayer(selection, weight, torch.zeros(n_features), torch.ones(n_features))
