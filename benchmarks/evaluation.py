"""Time and peak memory of evaluation at ImageNet's size: 50 000 images, 1000 classes, 50 features, 5 per class.

    python -m benchmarks.evaluation [--images 50000]

Every line is measured in a process of its own; peak memory is what it allocates beside its inputs.
"""

import argparse
import statistics
from contextlib import contextmanager
from statistics import NormalDist

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from benchmarks.measuring import in_own_process, measured
from conformal import HierarchicalPredictor, aps, raps, thr
from evaluation import metrics

CLASSES, FEATURES, PER_CLASS = 1000, 50, 5
CALIBRATION = 10 * CLASSES


@contextmanager
def all_at_once(images: int, classes: int):
    """All metrics that need no images; there is nothing to compare the whole of them with."""
    table = random_table(images, classes)
    yield lambda: all_metrics(*table), None


@contextmanager
def modes(images: int, features: int):
    """Contrastiveness of pooled features: two Gaussians for every feature, all features side by side."""
    generator = torch.Generator().manual_seed(0)
    present = torch.rand(images, features, generator=generator) < 0.3
    pooled = (torch.randn(images, features, generator=generator) + 3 * present).relu()
    yield lambda: metrics.contrastiveness(pooled), lambda: one_mixture_after_another(pooled)


def one_mixture_after_another(pooled: torch.Tensor) -> float:
    """Contrastiveness from scikit-learn's mixtures."""
    overlaps = []
    for column in pooled.double().numpy().T:
        mixture = GaussianMixture(2, random_state=0).fit(column[:, None])
        centres, variances = mixture.means_.ravel(), mixture.covariances_.ravel()
        lower, upper = map(NormalDist, centres, np.sqrt(variances))
        overlaps.append(lower.overlap(upper))
    return 1 - float(np.mean(overlaps))


def random_table(n_images: int, n_classes: int = CLASSES):
    """Binary weights, and features, logits and labels of a classifier that is often right."""
    generator = np.random.default_rng(0)
    chosen = generator.random((n_classes, FEATURES)).argsort(axis=1)[:, :PER_CLASS]
    weight = torch.zeros(n_classes, FEATURES).scatter_(1, torch.from_numpy(chosen), 1)
    torch.manual_seed(0)
    labels = torch.randint(n_classes, (n_images,))
    features = (2 * weight[labels] + torch.randn(n_images, FEATURES) - 0.5).relu()
    return weight, features, features @ weight.T, labels


def sets_of(method):
    """Calibrate and predict; the seconds that a new coverage costs (median) are returned."""

    def run(weight, features, logits, labels):
        predictor = method(weight)
        predictor.calibrate(*(x[:CALIBRATION] for x in (features, logits, labels)))
        coverages = (0.8, 0.88, 0.9, 0.925, 0.95)
        seconds = [measured(predictor.threshold, coverage).seconds for coverage in coverages]
        predictor.predict(features, logits, 0.9)
        return statistics.median(seconds)

    return run


def all_metrics(weight, features, logits, labels):
    """Every metric that needs no images."""
    n_classes = len(weight)
    similarity = torch.rand(n_classes, n_classes)
    sets = logits > logits.median()
    metrics.class_independence(features, labels, n_classes)
    metrics.feature_correlation(features)
    metrics.contrastiveness(features)
    metrics.structural_grounding(weight, similarity)
    metrics.dependence(features, logits, weight)
    metrics.set_coherence(sets, similarity)


TASKS = {
    "CHiQPM": sets_of(HierarchicalPredictor),
    "CHiQPM (paper)": sets_of(lambda weight: HierarchicalPredictor(weight, "paper")),
    "THR": sets_of(lambda weight: thr()),
    "APS": sets_of(lambda weight: aps()),
    "RAPS": sets_of(lambda weight: raps()),
    "metrics": all_metrics,
}


def line(name: str, n_images: int) -> str:
    """One line of the table: seconds, peak memory, and what a new coverage costs."""
    run = measured(TASKS[name], *random_table(n_images))
    shown = "" if run.result is None else f"{1000 * run.result:14.1f} ms"
    return f"{name:16}{run.seconds:10.1f} s{run.mebibytes / 1024:10.2f} GiB{shown}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    n_images = parser.parse_args().images
    print(f"{n_images} images, {CLASSES} classes, {torch.get_num_threads()} threads")
    print(f"{'':16}{'time':>12}{'peak memory':>14}{'new coverage':>17}")
    for name in TASKS:
        print(in_own_process(line, name, n_images), flush=True)


if __name__ == "__main__":
    main()
