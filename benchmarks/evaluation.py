"""Time and peak memory of evaluation at ImageNet's size: 50 000 images, 1000 classes, 50 features, 5 per class.

    python -m benchmarks.evaluation [--images 50000]

Every line is measured in a process of its own; peak memory is that of the whole process, PyTorch and inputs included.
"""

import argparse
import multiprocessing
import resource
import statistics
import time

import numpy as np
import torch

from conformal import HierarchicalPredictor, aps, raps, thr
from evaluation import metrics

CLASSES, FEATURES, PER_CLASS = 1000, 50, 5
CALIBRATION = 10 * CLASSES


def random_table(n_images: int):
    """Binary weights, and features, logits and labels of a classifier that is often right."""
    generator = np.random.default_rng(0)
    chosen = generator.random((CLASSES, FEATURES)).argsort(axis=1)[:, :PER_CLASS]
    weight = torch.zeros(CLASSES, FEATURES).scatter_(1, torch.from_numpy(chosen), 1)
    torch.manual_seed(0)
    labels = torch.randint(CLASSES, (n_images,))
    features = (2 * weight[labels] + torch.randn(n_images, FEATURES) - 0.5).relu()
    return weight, features, features @ weight.T, labels


def sets_of(method):
    """Calibrate and predict; the seconds that a new coverage costs (median) are returned."""

    def run(weight, features, logits, labels):
        predictor = method(weight)
        predictor.calibrate(*(x[:CALIBRATION] for x in (features, logits, labels)))
        seconds = []
        for coverage in (0.8, 0.88, 0.9, 0.925, 0.95):
            start = time.perf_counter()
            predictor.threshold(coverage)
            seconds.append(time.perf_counter() - start)
        predictor.predict(features, logits, 0.9)
        return statistics.median(seconds)

    return run


def all_metrics(weight, features, logits, labels):
    """Every metric that needs no images."""
    similarity = torch.rand(CLASSES, CLASSES)
    sets = logits > logits.median()
    metrics.class_independence(features, labels, CLASSES)
    metrics.feature_correlation(features)
    metrics.contrastiveness(features)
    metrics.structural_grounding(weight, similarity)
    metrics.dependence(features, logits, weight)
    metrics.set_coherence(sets, similarity)


TASKS = {
    "inputs alone": lambda *table: None,
    "CHiQPM": sets_of(HierarchicalPredictor),
    "CHiQPM (paper)": sets_of(lambda weight: HierarchicalPredictor(weight, "paper")),
    "THR": sets_of(lambda weight: thr()),
    "APS": sets_of(lambda weight: aps()),
    "RAPS": sets_of(lambda weight: raps()),
    "metrics": all_metrics,
}


def measure(name: str, n_images: int) -> str:
    """One line of the table: seconds, peak memory, and what a new coverage costs."""
    table = random_table(n_images)
    start = time.perf_counter()
    new_coverage = TASKS[name](*table)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    shown = "" if new_coverage is None else f"{1000 * new_coverage:14.1f} ms"
    return f"{name:16}{seconds:10.1f} s{peak:10.2f} GiB{shown}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50_000)
    n_images = parser.parse_args().images
    print(f"{n_images} images, {CLASSES} classes, {torch.get_num_threads()} threads")
    print(f"{'':16}{'time':>12}{'peak memory':>14}{'new coverage':>17}")
    context = multiprocessing.get_context("spawn")
    for name in TASKS:
        with context.Pool(1) as pool:
            print(pool.apply(measure, (name, n_images)), flush=True)


if __name__ == "__main__":
    main()
