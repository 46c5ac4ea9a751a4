"""Pooled features of the dense model on the training images, and the statistics of their maps for the selection.

The pooled features of ImageNet take 10 GiB: they are written to a file batch by batch and read from it in parts.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from architectures.activations import relative_peaks
from architectures.classifier import InterpretableClassifier, ModelOutput
from architectures.inference import measured_batches
from configs.hardware import Hardware
from configs.open_run import OpenRun
from configs.run_files import DENSE_MODEL_FILE, POOLED_FILE, STATISTICS_FILE
from sparsification.constants import locality_sums, overlap_sums
from sparsification.parts import Scenes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DenseFeatures:
    """All backbone features on the training images under the test transform; on the CPU."""

    pooled: Tensor  # [N, F] float32, mapped from its file
    labels: Tensor  # [N]
    locality: Tensor  # [F], see `sparsification.constants.locality_statistics`
    edge: Tensor  # [F]
    # [F, F], see `sparsification.constants.overlap_sums`; None unless features are maxima of maps
    overlap: Tensor | None = None
    scenes: Scenes | None = None  # what they see in some images, if parts are sought

    @classmethod
    def load(cls, pooled: Path, statistics: Path) -> "DenseFeatures":
        """Read what `extract_dense_features` wrote and returned."""
        # Mapped copy-on-write: torch wants writable memory, but the file must not change.
        mapped = torch.from_numpy(np.load(pooled, mmap_mode="c"))
        with np.load(statistics, allow_pickle=False) as arrays:
            found: Any = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        return cls(mapped, **found)


def dense_features(run: OpenRun, model: InterpretableClassifier) -> DenseFeatures:
    """The dense features of a run: reused or extracted."""
    settings, images = run.settings, run.data.train_unaugmented
    depends_on = {
        **settings.backbone_dependencies(),
        "images": images.fingerprint(),
        "dense": run.folder.digest(DENSE_MODEL_FILE) if settings.do_dense else None,
    }
    if settings.placed and not settings.do_dense:  # else the dense model says where they are
        depends_on["places"] = vars(settings.places)
    pooled, statistics = (run.folder.artefact(f, depends_on) for f in (POOLED_FILE, STATISTICS_FILE))
    if pooled.is_current() and statistics.is_current():
        log.info("Dense features: %s is reused.", pooled.path)
    else:
        found: dict[str, Any] = {}
        pooled.write(
            lambda file: found.update(extract_dense_features(model, images, run.hardware, file)), together=True
        )
        statistics.write(lambda file: np.savez(file, **found))
    return DenseFeatures.load(pooled.path, statistics.path)


def extract_dense_features(
    model: InterpretableClassifier, dataset, hardware: Hardware, file: Path | None
) -> dict[str, np.ndarray]:
    """Labels and locality statistics, in one pass that holds one batch; the pooled features go into `file` (`.npy`).

    All processes of a run take part; only the main one has a file.
    """
    shape = (len(dataset), model.backbone.n_features)
    labels = np.empty(len(dataset), dtype=np.int64)
    sums = torch.zeros(2, model.backbone.n_features, dtype=torch.float64)

    def measure(output: ModelOutput, targets: Tensor) -> dict[str, Tensor]:
        maps, pooled = output.feature_maps, output.features
        measured = {"pooled": pooled, "labels": targets, "sums": locality_sums(maps, pooled)}
        return measured | ({} if overlap is None else {"overlap": overlap_sums(relative_peaks(maps), pooled)})

    by_place = model.backbone.pooling == "max"
    overlap = torch.zeros(shape[1], shape[1], dtype=torch.float64) if by_place else None
    end = 0
    # Not mapped: on a full disk, writing to a mapped file kills the process.
    with open(file or os.devnull, "wb") as pooled:
        header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(pooled, header)
        for batch in measured_batches(model, dataset, hardware, "Dense features", measure):
            pooled.write(batch["pooled"].float().numpy().tobytes())
            start, end = end, end + len(batch["labels"])
            labels[start:end] = batch["labels"].numpy()
            sums += batch["sums"]
            if overlap is not None:
                overlap += batch["overlap"]
    locality, edge = sums.numpy()
    found = {"labels": labels, "locality": locality / len(dataset), "edge": edge}
    return found if overlap is None else {**found, "overlap": overlap.numpy()}
