"""Pictures that look the same though their pixels differ: saved again, scaled, or slightly retouched.

A perceptual hash of 64 bits (dHash) records which of two neighbours in a row of a grey 9 x 8 thumbnail is brighter.
Images whose hashes differ in few bits and whose thumbnails hardly differ are near copies.
"""

import numpy as np
from PIL import Image

THUMBNAIL = (9, 8)  # width, height
MAX_BITS = 3  # of 64 that may differ; fewer than the bands below, so that at least one band is the same
BANDS = 4  # of 16 bits
NEIGHBOURS = 8  # compared in the sorted order of a band: near copies are close, and time stays linear
MAX_DIFFERENCE = 10  # of 255, at nine of ten pixels
MIN_CONTRAST = 8  # of 255, standard deviation: flat pictures look alike to a hash


def thumbnail(image: Image.Image) -> np.ndarray:
    """A thumbnail of an RGB image, `[8, 9, 3]` uint8."""
    return np.asarray(image.resize(THUMBNAIL, Image.Resampling.BOX))


def near_pairs(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of near copies among thumbnails `[N, 8, 9, 3]`, each pair in ascending order."""
    small = thumbnails.astype(np.int16)
    grey = small.sum(axis=3)
    contrasted = np.flatnonzero(grey.std(axis=(1, 2)) >= 3 * MIN_CONTRAST)
    bits = (grey[contrasted, :, 1:] > grey[contrasted, :, :-1]).reshape(len(contrasted), 64)
    bands = np.packbits(bits, axis=1).view(np.uint16)  # (n, 4)
    pairs = set()
    for band in range(BANDS):
        order = np.lexsort([bands[:, (band + b) % BANDS] for b in reversed(range(BANDS))])
        for step in range(1, NEIGHBOURS + 1):
            a, b = order[:-step], order[step:]
            alike = bands[a, band] == bands[b, band]
            a, b = a[alike], b[alike]
            near = (bits[a] != bits[b]).sum(axis=1) <= MAX_BITS
            found = np.sort(contrasted[np.stack([a[near], b[near]], axis=1)])  # (m, 2)
            if len(found):
                difference = np.abs(small[found[:, 0]] - small[found[:, 1]])
                same = np.quantile(difference, 0.9, axis=(1, 2, 3)) <= MAX_DIFFERENCE
                pairs |= set(map(tuple, found[same].tolist()))
    return sorted(pairs)
