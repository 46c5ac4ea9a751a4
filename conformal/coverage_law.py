"""The exact distribution of the coverage that split-conformal prediction reaches on finitely many images.

A pool of images is split at random into n that calibrate and m that are tested. Without ties, the number of covered
test images is beta-binomial (Vovk 2012; Angelopoulos and Bates, arXiv 2107.07511, section 3.2). Sets that always hold
the prediction add an atom: images whose true class has the lowest possible score are covered at every threshold.
"""

import numpy as np
from scipy.stats import betabinom, chisquare, hypergeom

from conformal.quantiles import conformal_rank

N_BINS = 12  # of the test; fewer where single counts are more probable than a bin


def coverage_law(n_calibration: int, n_test: int, coverage: float, always_covered: int = 0) -> np.ndarray:
    """Probability of every number of covered test images, `[n_test + 1]`.

    Args:
        coverage: targeted coverage, a fraction.
        always_covered: images of the pool whose true class has the lowest possible score, so that every set holds it.
    """
    counts = np.arange(n_test + 1)
    rank = conformal_rank(n_calibration, coverage)
    if rank > n_calibration:
        return (counts == n_test).astype(float)  # every set holds every class
    without_atom = betabinom(n_test, rank, n_calibration + 1 - rank).pmf(counts)
    # With at least `rank` of them among the calibration images, the threshold is the lowest score.
    among_calibration = hypergeom(n_calibration + n_test, always_covered, n_calibration)
    atom_alone = among_calibration.pmf(always_covered - counts)
    return np.where(counts + rank > always_covered, without_atom, atom_alone)


def law_p_value(counts: np.ndarray, law: np.ndarray) -> float:
    """p-value of a chi-square test of observed counts against a law, over bins of about equal probability.

    Args:
        counts: observed numbers of covered images.
        law: probability of every number, from `coverage_law`.
    """
    cumulative = law.cumsum()
    edges = np.unique(np.searchsorted(cumulative, np.arange(1, N_BINS) / N_BINS))
    edges = edges[cumulative[edges] < 1 - 1 / (2 * N_BINS)]
    observed = np.bincount(np.searchsorted(edges, counts), minlength=len(edges) + 1)
    expected = np.diff(cumulative[edges], prepend=0, append=1) * len(counts)
    return chisquare(observed, expected, sum_check=False).pvalue
