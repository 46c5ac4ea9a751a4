"""Coverage and size of prediction sets over random splits of the test images: how far one split is chance.

A run calibrates on some of its test images and measures on the others. Here its feature table is split again and again.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from architectures.inference import FeatureTable
from architectures.sparse_head import SparseLayer
from configs.errors import UsageError, reason
from configs.files import read_json, sha256, write_json
from configs.model_types import MODEL_TYPES
from configs.run_folder import RunFolder
from configs.script import progress
from conformal.scores.hierarchical import SCORE
from conformal.scores.thr import METHOD as THR
from conformal.split import CALIBRATION_PER_CLASS, calibration_split
from evaluation.prediction_sets import COVERAGES, compare_methods, methods


def saved_splits(run_folder: Path, model: str, n_splits: int) -> dict:
    """Results over random splits, kept in the run folder: many splits of many classes take minutes.

    Args:
        run_folder: of a finished run.
        model: its name in the run's files, MODELTYPE_NFEATURES_NPERCLASS.
        n_splits: as in `random_splits`.

    Raises:
        UsageError: as `saved_model`.
        RunError: if another run holds the folder, or it cannot be written.
    """
    weight, table = saved_model(run_folder, model)
    made_from = {kind: sha256(run_folder / f"{model}_{kind}.npz") for kind in ("Features_test", "Selection")}
    artefact = RunFolder(run_folder).artefact(
        f"{model}_RandomSplits.json", {**made_from, "splits": n_splits, "score": SCORE}
    )
    return artefact.load_or_make(
        read_json, lambda path: write_json(path, random_splits(weight, table, n_splits).results())
    )


def saved_model(run_folder: Path, model: str) -> tuple[Tensor | None, FeatureTable]:
    """What a run's model needs for prediction sets: class-feature weights, and its feature table on the test images.

    Args:
        run_folder: of a finished run.
        model: its name in the run's files, MODELTYPE_NFEATURES_NPERCLASS.

    Returns:
        The binary weights `[C, n]`, None if the classes of this model type are not sets of features; and the table.

    Raises:
        UsageError: if the run has not left them.
    """
    hierarchical = MODEL_TYPES[model.partition("_")[0]].hierarchical
    try:
        table = FeatureTable.load(run_folder / f"{model}_Features_test.npz")
        return SparseLayer.load(run_folder / f"{model}_Selection.npz").weight if hierarchical else None, table
    except OSError as error:
        raise UsageError(f"{run_folder} is no finished run of {model}: {reason(error)}") from None


@dataclass(frozen=True)
class RandomSplits:
    """Prediction sets over random splits, by method and targeted coverage."""

    n_calibration: int  # images that calibrate, in every split
    n_test: int  # the others
    covered: dict[tuple[str, float], np.ndarray]  # how many of the others have their class in their set, [splits]
    sizes: dict[tuple[str, float], np.ndarray]  # their average set size, in classes, [splits]

    def results(self) -> dict:
        """Means over the splits, as the results of a run have them: `{method: {coverage: results}}`."""
        by_method: dict = defaultdict(dict)
        for (name, target), sizes in self.sizes.items():
            by_method[name][f"{target:g}"] = {
                "Coverage": self.covered[name, target].mean() / self.n_test,
                "Average set size": sizes.mean(),
                "Set size, of THR's": sizes.mean() / self.sizes[THR.name, target].mean(),
            }
        return dict(by_method)


def random_splits(weight: Tensor | None, table: FeatureTable, n_splits: int, stratified: bool = False) -> RandomSplits:
    """Prediction sets of every method for `COVERAGES`, over random splits that are as large as those of a run.

    Args:
        weight: binary class-feature weights `[C, n]`; None: only methods without a hierarchy.
        table: of the test images.
        n_splits: how many; split i is that of seed i.
        stratified: whether every class calibrates with the same number of images, as in a run; otherwise any images
            do, as the guarantee assumes.
    """
    groups, per_group = table.labels, CALIBRATION_PER_CLASS
    if not stratified:  # as many images, of one group
        per_group, groups = len(calibration_split(groups, 0)[0]), torch.zeros_like(groups)
    covered, sizes = defaultdict(list), defaultdict(list)
    for seed in progress(range(n_splits), desc="Splits"):
        calibration, test = (table[rows] for rows in calibration_split(groups, seed, per_group))
        compared = compare_methods(methods(weight, calibration, seed), test, COVERAGES)
        for name, by_target in compared.items():
            for target, result in zip(COVERAGES, by_target.values(), strict=True):
                covered[name, target].append(round(result["Coverage"] * len(test)))
                sizes[name, target].append(result["Average set size"])
    columns = ({key: np.array(values) for key, values in found.items()} for found in (covered, sizes))
    return RandomSplits(len(calibration), len(test), *columns)
