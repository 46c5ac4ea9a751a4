"""Nonconformity scores of the softmax baselines: THR, APS and RAPS.

THR (LAC): Sadinle, Lei and Wasserman 2019. APS: Romano, Sesia and Candes 2020. RAPS: Angelopoulos
et al. 2021. Arrays in, arrays out, `[N, C]` -> `[N, C]`, lower is more conforming.
"""


def thr_score(probabilities):
    """One minus the probability of the class."""
    return 1 - probabilities


def aps_score(probabilities, position):
    """Probability of the classes ranked before the class, plus the fraction `position` of its own.

    Args:
        probabilities: `[N, C]`, rows sum to 1.
        position: `[N, 1]` in [0, 1]: uniform draws for the randomised score, ones for the
            conservative one.
    """
    ranked, order = probabilities.sort(dim=1, descending=True, stable=True)
    before = ranked.cumsum(dim=1) - ranked
    return (before + position * ranked).gather(1, order.argsort(dim=1))


def raps_score(probabilities, position, *, penalty, free_rank):
    """The APS score plus `penalty` for every rank beyond the first `free_rank`."""
    rank = probabilities.argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1
    return aps_score(probabilities, position) + penalty * (rank - free_rank).clamp(min=0)
