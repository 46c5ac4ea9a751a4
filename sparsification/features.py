"""Pooled features of the dense model on the training images, and what the selection needs of their maps."""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from architectures.inference import predict_batches
from architectures.resnet import InterpretableResNet
from architectures.tables import TensorTable
from configs.hardware import Hardware
from configs.run_folder import RunFolder
from configs.runs import dense_model_file
from configs.settings import Settings
from sparsification.constants import LocalityStatistics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DenseFeatures(TensorTable):
    """All backbone features on the training images under the test transform; on the CPU.

    Attributes:
        pooled: `[N, F]` float32.
        labels: `[N]`.
        locality: `[F]`, see `sparsification.constants.locality_statistics`.
        edge: `[F]`.
    """

    pooled: Tensor
    labels: Tensor
    locality: Tensor
    edge: Tensor


FEATURES_FILE = "DenseFeatures_train.npz"


def dense_features(
    settings: Settings, run: RunFolder, model: InterpretableResNet, data, hardware: Hardware
) -> DenseFeatures:
    """The dense features of a run: reused or extracted."""
    dense = run.digest(dense_model_file()) if settings.do_dense else None
    artefact = run.artefact(
        FEATURES_FILE,
        {
            **settings.backbone_dependencies(),
            "images": data.train_plain.fingerprint(),
            "dense": dense,
        },
    )
    if artefact.is_current():
        log.info("Dense features: %s is reused.", artefact.path)
        return DenseFeatures.load(artefact.path)
    features = extract_dense_features(model, data.train_plain, hardware)
    artefact.write(features.save)
    return features


def extract_dense_features(
    model: InterpretableResNet, dataset, hardware: Hardware
) -> DenseFeatures:
    """The dense model's features on a dataset, in one pass that drops the maps batch by batch."""
    statistics = LocalityStatistics()
    pooled, labels = [], []
    for output, targets in predict_batches(model, dataset, hardware, "Dense features"):
        statistics.update(output.feature_maps, output.features)
        pooled.append(output.features.float().cpu())
        labels.append(targets.cpu())
    return DenseFeatures(torch.cat(pooled), torch.cat(labels), *statistics.result())
