"""Stage 5: results of the dense and the sparse model, under the names of the papers' tables.

Accuracy and SID@5 are measured on the test images, everything else on the training images under the test transform, as
published.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from architectures.activations import spatial_diversity
from architectures.classifier import InterpretableClassifier, ModelOutput
from architectures.inference import FeatureTable, FeatureTables, measured_columns
from configs import processes
from configs.files import read_json
from configs.fonts import optional_figure
from configs.open_run import OpenRun
from configs.run_files import BESIDE, DENSE_MODEL_FILE, DENSE_RESULTS_FILE, feature_table_file, sparse_results_file
from configs.run_folder import Artefact
from conformal import METHODS, HierarchicalPredictor, calibration_split
from conformal.scores.hierarchical import SCORE
from evaluation import metrics
from evaluation.explanation_truth import explanation_truth
from evaluation.part_purity import disturbed_peaks, keypoint_results
from evaluation.plots import plot_prediction_sets
from evaluation.prediction_sets import COVERAGES, compare_methods, methods
from evaluation.results import write_results

log = logging.getLogger(__name__)

VERSION = 2  # of the metrics: results of another version are computed again


@dataclass(frozen=True)
class Observed:
    """Outputs of the dense model on the test images, without its feature maps; on the CPU."""

    features: Tensor  # input of the head, [N, F]
    logits: Tensor  # [N, C]
    labels: Tensor  # [N]
    sid: Tensor  # SID@5 of every image, [N]


def observe(run: OpenRun, model: InterpretableClassifier) -> Observed:
    """One pass of the dense model over the test images."""
    weight = model.class_weight

    def measure(output: ModelOutput, labels: Tensor) -> dict[str, Tensor]:
        sid = spatial_diversity(output.feature_maps, output.logits, weight)
        return {"features": output.features, "logits": output.logits, "labels": labels, "sid": sid}

    return Observed(**measured_columns(model, run.data.test, run.hardware, "Dense model on test images", measure))


def model_results(
    weight: Tensor,
    train_features: Tensor,
    train_labels: Tensor,
    train_predictions: Tensor,
    test: Observed | FeatureTable,
    train_data,
) -> dict:
    """The metrics that dense and sparse models share.

    Args:
        weight: class-feature weights, `[C, F]`.
        train_features: input of the head on the training images under the test transform, `[N, F]`.
        train_labels: `[N]`.
        train_predictions: predicted classes, `[N]`.
        train_data: the training images; may know class similarity and attributes.
    """
    weight = weight.detach().cpu()
    similarity, attributes = train_data.class_similarity(), train_data.class_attributes()
    grounding = None if similarity is None else metrics.structural_grounding(weight, similarity)
    if attributes is not None:
        attributes = class_attribute_table(train_labels.numpy(), attributes)
    alignment, alignment_of_classes = (
        None if table is None else metrics.attribute_alignment(train_features, table)
        for table in (train_data.image_attributes(), attributes)
    )
    return {
        "Accuracy": (test.logits.argmax(dim=1) == test.labels).double().mean().item(),
        "SID@5": test.sid.nanmean().item(),
        "Class-Independence": metrics.class_independence(train_features, train_labels, len(weight)),
        "Contrastiveness": metrics.contrastiveness(train_features),
        "Structural Grounding": grounding,
        "Correlation": metrics.feature_correlation(train_features),
        "Dependence": metrics.dependence_of_predictions(train_features, train_predictions, weight),
        "Dependence on test images": metrics.dependence(test.features, test.logits, weight),
        "Alignment": alignment,
        "Alignment with class attributes": alignment_of_classes,
        "Number of features": int(weight.any(dim=0).sum()),
        "Features per class": weight.count_nonzero(dim=1).double().mean().item(),
    }


def class_attribute_table(labels, class_attributes) -> np.ndarray:
    """Attribute table `[N * A, 4]` in which every image has the attributes of its class.

    For datasets that annotate classes, not images. An attribute is present if it has at least half the largest value.

    Args:
        labels: `[N]`.
        class_attributes: `[C, A]`, all of one scale.
    """
    present = (class_attributes >= class_attributes.max() / 2)[labels]  # (N, A)
    image, attribute = np.indices(present.shape)
    certainty = np.full(present.shape, 4)
    return np.stack([image + 1, attribute + 1, present, certainty], axis=2).reshape(-1, 4)


def linear_predictions(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Classes that a linear layer predicts, `[N]`, from features `[N, F]` that may be larger than memory."""
    weight, bias = weight.detach().cpu(), bias.detach().cpu()
    blocks = (rows.to(weight) for rows in features.split(2**12))
    return torch.cat([(rows @ weight.T + bias).argmax(dim=1) for rows in blocks])


def evaluate_dense(run: OpenRun, model: InterpretableClassifier, train_features: Tensor) -> dict:
    """Results of the dense model, also saved in `Results_DenseModel.json`.

    Args:
        train_features: its pooled features on the training images under the test transform, `[N, F]`.
    """
    settings, train, test = run.settings, run.data.train_unaugmented, run.data.test
    if not (settings.do_dense or model.has_classifier):
        return {"Accuracy": None}  # its final layer was not trained
    trained = {"model": run.folder.digest(DENSE_MODEL_FILE)} if settings.do_dense else {}
    artefact = run.folder.artefact(
        DENSE_RESULTS_FILE,
        {
            **settings.backbone_dependencies(),
            **trained,
            "images": test.fingerprint(),
            "attributes": test.attributes_fingerprint(),
            "version": VERSION,
        },
    )

    def make(path: Path | None) -> None:
        observed = observe(run, model)
        if path is not None:
            labels = torch.from_numpy(train.labels)
            bias: Any = model.linear.bias
            predictions = linear_predictions(train_features, model.class_weight, bias)
            results = model_results(model.class_weight, train_features, labels, predictions, observed, train)
            write_results(path, results)

    return artefact.load_or_make(read_json, make, together=True)


def evaluate_sparse(
    run: OpenRun,
    model: InterpretableClassifier,
    tables: FeatureTables,
    *,
    again: bool = False,
    beside: bool = False,
    more: dict | None = None,
) -> dict:
    """Results of the sparse model, also saved in the run's `Results_*.json` and as plots beside it.

    Args:
        run: its seed drew the calibration images.
        again: whether to evaluate even if the results are current.
        beside: whether to keep `Results_*.json`, because others made the model, or it was made with other images, and
            to save these results in `Evaluated_Results_*.json`, as the published code does.
        more: further results to save; those of an earlier evaluation of the same model stay.
    """
    settings, folder = run.settings, run.folder
    coverages = sorted({*COVERAGES, *settings.coverage})
    artefact = folder.artefact(
        (BESIDE if beside else "") + sparse_results_file(settings),
        {
            "train": folder.digest(run.beside("train") + feature_table_file(settings, "train")),
            "test": folder.digest(run.beside("test") + feature_table_file(settings, "test")),
            "attributes": run.data.test.attributes_fingerprint(),
            "coverage": coverages,
            "seed": settings.seed,
            "version": VERSION,
            "methods": [method.name for method in METHODS],
            "score": SCORE,
        },
    )

    kept = measured_before(artefact)

    def make(path: Path | None) -> None:
        truth = explanation_truth_of(run, model, tables)
        if path is not None:
            results = sparse_results(run, model.class_weight, tables, coverages)
            found = {"Explanation truth": truth} if truth else {}
            write_results(path, {**results, **found, **kept, **(more or {})})

    return artefact.load_or_make(read_json, make, together=True, again=again)


def measured_before(artefact: Artefact) -> dict:
    """Earlier results of the same model that are measured only on request; empty without any."""
    same_model = artefact.why_outdated(only=("train", "test")) is None
    results = read_json(artefact.path) if same_model else None
    kept = results.get("Faithfulness") if isinstance(results, dict) else None
    return {"Faithfulness": kept} if isinstance(kept, dict) else {}


def warn_of_silent_features(features: Tensor) -> None:
    """Log how many features `[N, n]` have the same value in every image, and so explain nothing."""
    n_silent = int((features.amax(dim=0) == features.amin(dim=0)).sum())
    if n_silent:
        log.warning(
            "Silent features, %d of %d, have the same value in all training images: the dense model may have "
            "learnt too little; train it longer (a larger --schedule_scale, or pretrained --weights).",
            n_silent,
            features.shape[1],
        )


def accuracy_by_level(weight: Tensor, test: FeatureTable) -> dict[str, float]:
    """Level accuracies: share of test images whose class has the first 1..k features of the prediction."""
    levels = HierarchicalPredictor(weight).calibrate(test.features, test.logits, test.labels)
    return {str(i): x for i, x in enumerate(levels.level_accuracies.tolist(), start=1)}


def sparse_results(run: OpenRun, weight: Tensor, tables: FeatureTables, coverages: Sequence[float]) -> dict:
    """All results of the sparse model; draws the plots of its prediction sets."""
    settings, data = run.settings, run.data
    weight = weight.detach().cpu()
    warn_of_silent_features(tables.train.features)
    hierarchy = weight if settings.kind.hierarchical else None
    results = model_results(
        weight,
        tables.train.features,
        tables.train.labels,
        tables.train.predictions,
        tables.test,
        data.train_unaugmented,
    )
    calibration, rest = (tables.test[rows] for rows in calibration_split(tables.test.labels, settings.seed))
    results["Calibration images"], results["Prediction set images"] = len(calibration), len(rest)
    by_name = methods(hierarchy, calibration, settings.seed or 0)
    results["Prediction sets"] = compare_methods(by_name, rest, coverages, data.test.class_similarity())
    if hierarchy is not None:
        results["Level accuracies"] = accuracy_by_level(hierarchy, tables.test)
    with optional_figure("The plots of prediction sets"):
        plot_prediction_sets(
            run.folder.file(f"{run.beside('test')}{settings.model_name}_PredictionSets"),
            by_name,
            rest,
            n_calibration=len(calibration),
            classes=data.test.classes,
            coverage=settings.coverage[0],
        )
    return results


def explanation_truth_of(run: OpenRun, model: InterpretableClassifier, tables: FeatureTables) -> dict[str, float]:
    """How true the explanations are, measured with the parts that the dataset knows; empty if it knows none."""
    weight, data = model.class_weight.detach().cpu(), run.data
    swapped = swapped_features(run, model)
    if swapped is not None:
        return explanation_truth(tables.test, weight, data.test, swapped)
    train, test = data.train_unaugmented.keypoints(), data.test.keypoints()
    if train is None or test is None:
        return {}
    return keypoint_results(weight, tables, (train, test), disturbed_peaks(run, model))


def swapped_features(run: OpenRun, model: InterpretableClassifier) -> Tensor | None:
    """Pooled features of test images with the look of one part swapped, `[R, P, L, n]`; None for other datasets."""
    swapped_looks = getattr(run.data.test, "swapped_looks", None)
    if swapped_looks is None:
        return None
    swapped = processes.broadcast(swapped_looks)
    columns = measured_columns(
        model,
        swapped,
        run.hardware,
        "Sparse model on swapped looks",
        lambda output, _: {"pooled": model.backbone.pool(output.feature_maps)},
    )
    return columns["pooled"].unflatten(0, swapped.shape)
