"""Which test images calibrate."""

import numpy as np


def calibration_split(labels, per_class, seed):
    """Mask of the images drawn for calibration, the same number in every class: bool `[N]`.

    Of a class with fewer than `2 * per_class` images half is drawn, so that every class is also
    tested.

    Args:
        labels: `[N]` integers.
        per_class: calibration images per class.
        seed: seed of the draw.
    """
    labels = np.asarray(labels)
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - (counts.cumsum() - counts)[labels[shuffled]]
    drawn = np.zeros(len(labels), dtype=bool)
    drawn[shuffled] = rank < np.minimum(per_class, counts // 2)[labels[shuffled]]
    return drawn
