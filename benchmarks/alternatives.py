"""What else one could take on the weights and images of a run: a linear probe and decision trees.

They see the average of every map that the network makes before any training, at its ordinary strides. "Read for a
decision" is how many numbers make one prediction. `compare_runs.py` shows the models of the run.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from architectures.backbones.registry import backbone_of
from architectures.classifier import build_dense_model
from architectures.inference import features_and_peaks
from benchmarks.measuring import measured
from benchmarks.table import duration, markdown
from configs.finished_run import finished_run
from configs.hardware import Hardware
from dataset_classes.registry import data_of_model


def tables(run_folder: str) -> Iterator[str]:
    """Classifiers fitted on the images of a finished run."""
    settings, folder = finished_run(["--folder", run_folder], __doc__)
    data = data_of_model(settings, folder, backbone_of(settings))
    hardware = Hardware.choose(settings.device, settings.workers)
    network = hardware.place(
        build_dense_model(settings.arch, len(data.train.classes), settings.weights, reduced_strides=False)
    )
    train, test = (
        [column.numpy() for column in features_and_peaks(network, images, hardware)[:2]]
        for images in (data.train_unaugmented, data.test)
    )
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    classifiers = {
        f"linear probe, {train[0].shape[1]} features": probe,
        "decision tree": DecisionTreeClassifier(random_state=0),
        "decision tree, at most 5 questions": DecisionTreeClassifier(max_depth=5, random_state=0),
    }
    rows = []
    for name, classifier in classifiers.items():
        spent = measured(classifier.fit, *train).seconds
        accuracy, read = classifier.score(*test), features_read(classifier, test[0])
        rows.append([name, f"{accuracy:.1%}", f"{read:.3g}", duration(spent)])
    yield markdown(["classifier", "test accuracy", "read for a decision", "fitting"], rows)


def features_read(classifier, features: np.ndarray) -> float:
    """Features that a decision reads: of a tree its questions, on average over the images."""
    if isinstance(classifier, DecisionTreeClassifier):
        return classifier.decision_path(features).sum() / len(features) - 1
    return features.shape[1]
