"""Which test images calibrate and which remain for measuring coverage."""

import torch
from torch import Tensor

CALIBRATION_PER_CLASS = 10


def calibration_split(
    labels: Tensor, seed: int | None, per_class: int = CALIBRATION_PER_CLASS
) -> tuple[Tensor, Tensor]:
    """Rows for calibration and the other rows, both ascending.

    The published code takes calibration images by index arithmetic, which gives 0 to 13 per class on a subset of
    the classes; here they are drawn per class.

    Args:
        labels: of the test images, `[N]`.
        seed: of the run; None, as for a downloaded model, is the same as 0.
        per_class: calibration images of every class; a class with fewer than twice as many gives half of its images.
            Where no class has two, half of all images calibrate.
    """
    generator = torch.Generator().manual_seed(seed or 0)
    shuffled = torch.randperm(len(labels), generator=generator)
    calibrates = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        rows = shuffled[labels[shuffled] == label]
        calibrates[rows[: min(per_class, len(rows) // 2)]] = True
    if not calibrates.any():
        calibrates[shuffled[: len(shuffled) // 2]] = True
    return calibrates.nonzero().flatten(), (~calibrates).nonzero().flatten()
