"""What else one could take on the same weights and images: a linear probe and decision trees beside a run's models.

The simple classifiers see the average of every map that the network makes before any training, at its ordinary strides;
the models of the run are read from their results. "Read for a decision" is how many numbers make one prediction.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from architectures.backbones.registry import backbone_of
from architectures.classifier import InterpretableClassifier, build_dense_model
from architectures.inference import measured_batches
from benchmarks.measuring import measured
from benchmarks.table import markdown, seconds
from configs.hardware import Hardware
from configs.open_run import OpenRun
from configs.runs import finished_run
from dataset_classes.registry import data_of_model
from evaluation.results import recorded_results

HEADER = ("classifier", "test accuracy", "read for a decision", "fitting")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose weights and images."""
    parser.add_argument("run_folder", help="a finished run")


def tables(arguments: argparse.Namespace) -> Iterator[str]:
    """Classifiers fitted now, and the models of the run."""
    settings, folder = finished_run(["--folder", arguments.run_folder], __doc__)
    data = data_of_model(settings, folder, backbone_of(settings))
    run = OpenRun(settings, folder, Hardware.choose(settings.device, settings.workers), data)
    yield markdown(HEADER, [*_fitted(run), *_trained(run)])


def _fitted(run: OpenRun) -> Iterator[tuple[str, ...]]:
    settings, data = run.settings, run.data
    model = build_dense_model(
        settings.arch, len(data.train.classes), settings.weights, reduced_strides=False
    )
    model = run.hardware.place(model)
    train, test = (_pooled(run, model, images) for images in (data.train_unaugmented, data.test))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    for name, classifier in (
        (f"linear probe, {train[0].shape[1]} features", probe),
        ("decision tree", DecisionTreeClassifier(random_state=0)),
        ("decision tree, at most 5 questions", DecisionTreeClassifier(max_depth=5, random_state=0)),
    ):
        spent = measured(classifier.fit, *train).seconds
        accuracy = classifier.score(*test)
        yield name, f"{accuracy:.1%}", f"{_read(classifier, test[0]):.3g}", seconds(spent)


def _read(classifier, features: np.ndarray) -> float:
    """Features that a decision reads: of a tree its questions, on average over the images."""
    if isinstance(classifier, DecisionTreeClassifier):
        return classifier.decision_path(features).sum() / len(features) - 1
    return features.shape[1]


def _pooled(run: OpenRun, model: InterpretableClassifier, images) -> tuple[np.ndarray, np.ndarray]:
    batches = measured_batches(
        model,
        images,
        run.hardware,
        "Features before training",
        lambda output, labels: (output.features, labels),
    )
    features, labels = (torch.cat(column).numpy() for column in zip(*batches, strict=True))
    return features, labels


def _trained(run: OpenRun) -> Iterator[tuple[str, ...]]:
    for path in sorted(run.folder.path.glob("Results_*Model.json")):
        results = recorded_results(path)
        if "Accuracy" not in results:  # a dense model whose final layer was not trained
            continue
        read = results.get("Features per class", "all features")
        yield path.stem.removeprefix("Results_"), f"{results['Accuracy']:.1%}", f"{read}", "–"
