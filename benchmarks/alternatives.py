"""Alternatives with the weights and images of a run, beside its own models: accuracy and cost in one table.

Linear probe, concept bottleneck and decision trees see the average of every feature map of the untrained network, at
its ordinary strides; a prototype network sees the maps themselves, of augmented images, too, if the package cabrnet is
installed. Computing these counts as part of training and prediction. "Read for a decision" is how many numbers a
prediction depends on. Training of the run's own models counts epochs only, without the maps that a run stores first; a
sparse model's comes on top of the dense one's. Predictions are made in a process of their own: memory is the most it
allocates, size is that of the network and of the classifier fitted behind it.
"""

import pickle
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Self

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch.utils.data import ConcatDataset

from architectures.backbones.registry import backbone_of
from architectures.classifier import InterpretableClassifier, build_dense_model
from architectures.inference import features_and_peaks, measured_columns
from benchmarks.measuring import Measurement, in_own_process, measured
from benchmarks.table import duration, markdown
from configs.finished_run import MODEL_NAME, finished_run
from configs.hardware import Hardware
from configs.model_types import MODEL_TYPES
from configs.open_run import OpenRun
from configs.run_files import DENSE_MODEL_FILE, DENSE_RESULTS_FILE, SPARSE_MODEL, SPARSE_RESULTS
from dataset_classes.registry import data_of_model, open_finished
from evaluation.results import recorded_results
from training.batches import SeededImages
from training.dense import load_dense_model
from training.history import METRICS_FILE, read_metrics

HEADER = ["classifier", "test accuracy", "read for a decision", "training", "prediction", "memory", "size"]
PREDICTED = 256  # test images, at most
VIEWS = 4  # of every training image, beside itself, for a prototype network


class ConceptBottleneck:
    """Features to concepts to classes (Koh et al., ICML 2020; sequential): a concept is an attribute of classes.

    Args:
        attributes: how strongly each class shows each attribute, `[C, A]` in [0, 1]; those above 0.5 count as present.
    """

    def __init__(self, attributes: np.ndarray):
        has = attributes > 0.5
        self._has = has[:, has.any(axis=0) & ~has.all(axis=0)]
        self._concepts = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.01, max_iter=500)))
        self._classes = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))

    @property
    def n_read(self) -> int:
        """Concepts: attributes that some classes have and some have not."""
        return self._has.shape[1]

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Self:
        """Fit both steps to features `[N, F]` and labels `[N]`, the second to what the first predicts."""
        self._concepts.fit(features, self._has[labels].astype(int))
        self._classes.fit(self._concepts.predict_proba(features), labels)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Classes, `[N]`."""
        return self._classes.predict(self._concepts.predict_proba(features))


def opened(run_folder: str) -> OpenRun:
    """A finished run; errors as in `finished_run`."""
    settings, folder = finished_run(["--folder", run_folder], __doc__)
    data = data_of_model(settings, folder, backbone_of(settings))
    return OpenRun(settings, folder, Hardware.choose(settings.device, settings.workers), data)


def untrained(run: OpenRun) -> InterpretableClassifier:
    """The run's network before any training, at ordinary strides."""
    arch, weights, n_classes = run.settings.arch, run.settings.weights, len(run.data.train.classes)
    return run.hardware.place(build_dense_model(arch, n_classes, weights, reduced_strides=False))


def tables(run_folder: str) -> Iterator[str]:
    """Classifiers fitted on the images of a finished run, and the run's own.

    Args:
        run_folder: of a finished run whose images are at hand.
    """
    run = opened(run_folder)
    network = untrained(run)
    n_bytes = sum(x.nbytes for x in network.backbone.state_dict().values())
    rows = []
    for see, seeing in classifiers(run).items():
        train, test = (measured(see, network, run, images) for images in (shown(run, see), run.data.test))
        for name, classifier in seeing.items():
            fitting = measured(classifier.fit, *train.result)
            seen, labels = test.result
            accuracy = np.mean(classifier.predict(seen) == labels)
            cost = in_own_process(predict_fitted, run_folder, see, classifier)
            size = n_bytes + len(pickle.dumps(classifier))
            training = train.seconds + fitting.seconds
            rows.append(row(name, accuracy, numbers_read(classifier, seen), training, cost, size))
    yield markdown(HEADER, [*rows, *own_models(run_folder, run)])


def shown(run: OpenRun, see: Callable):
    """The training images of those who see maps or averages: as they are, and for maps in some views."""
    views = [SeededImages(run.data.train, view) for view in range(VIEWS)] if see is maps else []
    return ConcatDataset([run.data.train_unaugmented, *views])


def averages(network: InterpretableClassifier, run: OpenRun, images) -> tuple[np.ndarray, np.ndarray]:
    """Averages of the network's feature maps for some images, `[N, F]`, and labels, `[N]`."""
    features, labels, _ = features_and_peaks(network, images, run.hardware)
    return features.numpy(), labels.numpy()


def maps(network: InterpretableClassifier, run: OpenRun, images) -> tuple[np.ndarray, np.ndarray]:
    """The network's feature maps for some images, `[N, F, H, W]`, and labels, `[N]`."""
    columns = measured_columns(
        network, images, run.hardware, "Maps", lambda output, labels: {"maps": output.feature_maps, "labels": labels}
    )
    return columns["maps"].numpy(), columns["labels"].numpy()


def classifiers(run: OpenRun) -> dict[Callable, dict]:
    """The classifiers to fit, by name, under what they see of the network."""
    attributes = run.data.train.class_attributes()
    bottleneck = {} if attributes is None else {"concept bottleneck": ConceptBottleneck(attributes)}
    seeing_averages = {
        "linear probe": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)),
        **bottleneck,
        "decision tree": DecisionTreeClassifier(random_state=0),
        "decision tree, at most 5 questions": DecisionTreeClassifier(max_depth=5, random_state=0),
    }
    if not find_spec("cabrnet"):
        return {averages: seeing_averages}
    from benchmarks.prototypes import PrototypeNetwork

    return {averages: seeing_averages, maps: {"prototype network": PrototypeNetwork()}}


def own_models(run_folder: str, run: OpenRun) -> Iterator[list[str]]:
    """Rows of the run's dense model, if there is one, and of every sparse model in its folder."""
    folder = run.folder
    epochs = [r for r in read_metrics(folder.file(METRICS_FILE)) if r["kind"] == "epoch"]

    def own(name: str, stage: str, file: str, results: dict, cost: Measurement) -> list[str]:
        seconds = sum(len(run.data.train) / r["images_per_second"] for r in epochs if r["stage"] == stage)
        size = folder.file(file).stat().st_size
        return row(name, results["Accuracy"], results["Features per class"], seconds, cost, size)

    if results := recorded_results(folder.file(DENSE_RESULTS_FILE)):
        cost = in_own_process(predict_dense, run_folder)
        yield own("dense model", "dense", DENSE_MODEL_FILE, results, cost)
    for path in sorted(folder.path.glob(f"*{SPARSE_MODEL}")):
        name = path.name.removesuffix(SPARSE_MODEL)
        if results := recorded_results(folder.file(SPARSE_RESULTS.format(name))):
            flags = [f"--{key}={value}" for key, value in zip(MODEL_NAME, name.split("_"), strict=True)]
            title = MODEL_TYPES[name.partition("_")[0]].title
            yield own(title, name, path.name, results, in_own_process(predict_sparse, run_folder, flags))


def row(name: str, accuracy: float, read: float, training: float, predicting: Measurement, size: int) -> list[str]:
    """Cells of the table; `training` in seconds, `size` in bytes."""
    each = duration(predicting.seconds / predicting.result)
    memory = f"{predicting.mebibytes:.0f} MiB"
    return [name, f"{accuracy:.1%}", f"{round(read, 1):g}", duration(training), each, memory, f"{size / 2**20:.1f} MiB"]


def predict_fitted(run_folder: str, see: Callable, classifier) -> Measurement:
    """Predict some test images with a classifier of what it sees of the untrained network; the result is how many."""
    run = opened(run_folder)
    network = untrained(run)
    return measured(lambda: len(classifier.predict(see(network, run, some_images(run))[0])))


def predict_dense(run_folder: str) -> Measurement:
    """The same with the run's dense model."""
    run = opened(run_folder)
    return measured(predicted, load_dense_model(run), run)


def predict_sparse(run_folder: str, flags: list[str]) -> Measurement:
    """The same with the sparse model that the flags name."""
    run, model = open_finished(*finished_run(["--folder", run_folder, *flags], __doc__))
    return measured(predicted, model, run)


def predicted(model: InterpretableClassifier, run: OpenRun) -> int:
    """Run a model on some test images; returns how many."""
    return len(averages(model, run, some_images(run))[1])


def some_images(run: OpenRun):
    """The first test images."""
    return run.data.test.subset(np.arange(min(PREDICTED, len(run.data.test))))


def numbers_read(classifier, seen: np.ndarray) -> float:
    """Numbers that a decision depends on; for a tree, its questions, averaged over the images."""
    if isinstance(classifier, DecisionTreeClassifier):
        return classifier.decision_path(seen).sum() / len(seen) - 1
    return getattr(classifier, "n_read", seen.shape[1])
