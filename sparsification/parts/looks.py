"""Which look of a part every class has: clusters of the classes by what is seen where the part is.

What is seen of a class is modelled as a sum: the effect of its look of this part, the effects of its looks of all other
parts, and a residual. Effects are fitted by ridge regression. As in k-means, every class gets the look that leaves the
smallest residual, and the effects are fitted again, until no class changes its look.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from configs.recipes import PartsRecipe
from sparsification.parts.alternatives import freely_combined

MAX_ROUNDS = 30  # of a clustering; far above the usual few


@dataclass(frozen=True, eq=False)
class Part:
    """A part of which every class has one look."""

    looks: Tensor  # the look of every class, [C]
    features: Tensor  # the feature that stands for every look, [L]

    @property
    def n_looks(self) -> int:
        """How many looks it has, L."""
        return len(self.features)

    def one_hot(self) -> Tensor:
        """`[C, L]` float64."""
        return one_hot(self.looks, self.n_looks).double()


class Clusters(NamedTuple):
    """Looks of all classes, `[C]`, and the sum of squares that neither they nor the looks of other parts explain."""

    looks: Tensor
    unexplained: float


@dataclass(frozen=True, eq=False)
class LookClustering:
    """Clusters classes by their look of one part."""

    seen: Tensor  # what is seen of every class, [C, F] float64
    others: list[Part]
    n_looks: int
    commonest: float  # share of the classes that have a look, at most
    recipe: PartsRecipe

    def best(self, n_starts: int, hints: list[Tensor], now: Tensor | None = None) -> Clusters:
        """The possible clusters that explain most; impossible ones only if there are no others.

        Args:
            n_starts: number of starts from classes that differ most, each beginning with another class.
            hints: looks of groups of alternatives, `[C]` each: further starts.
            now: present looks, which stay unless others are clearly better.
        """
        starts = [] if now is None else [now]
        starts += [looks for looks in hints if looks.max() == self.n_looks - 1]
        for shown in (self.seen, unexplained(self.seen, class_design(self.others), self.recipe.ridge)):
            starts += _spread_out_starts(shown, self.n_looks, n_starts)
        found = [self._converged(looks) for looks in starts]
        if now is not None:
            kept = self.distances(now).gather(1, now[:, None]).sum().item()
            found.insert(0, Clusters(now, kept * self.recipe.clearly))
        return min(found, key=lambda clusters: (not self.is_possible(clusters.looks), clusters.unexplained))

    def distances(self, looks: Tensor) -> Tensor:
        """What each look leaves unexplained of every class, `[C, L]`, with effects fitted to these looks, `[C]`."""
        own, known = one_hot(looks, self.n_looks).double(), class_design(self.others)
        effects = _effects(self.seen, torch.cat([own, known], dim=1), self.recipe.ridge)
        without_others = self.seen - known @ effects[self.n_looks :]
        return torch.cdist(without_others, effects[: self.n_looks]).square()

    def is_possible(self, looks: Tensor) -> bool:
        """Whether looks are neither too rare nor too common, and combined freely with those of the other parts."""
        own = one_hot(looks, self.n_looks)
        shares = own.sum(dim=0) / len(looks)
        usual = bool(((shares >= self.recipe.rare) & (shares <= self.commonest)).all())
        return usual and all(freely_combined(own, part.one_hot()) for part in self.others)

    def _converged(self, looks: Tensor) -> Clusters:
        for _ in range(MAX_ROUNDS):
            distances = self.distances(looks)
            before, looks = looks, distances.argmin(dim=1)
            if torch.equal(before, looks):
                break
        return Clusters(looks, distances.amin(dim=1).sum().item())


def _spread_out_starts(seen: Tensor, n_looks: int, n_starts: int) -> Iterator[Tensor]:
    """Looks `[C]` by the nearest of some classes: a first one, then repeatedly the one farthest from those chosen."""
    for first in range(0, len(seen), max(1, len(seen) // n_starts)):
        centres = [first]
        for _ in range(n_looks - 1):
            centres.append(int(torch.cdist(seen, seen[centres]).amin(dim=1).argmax()))
        yield torch.cdist(seen, seen[centres]).argmin(dim=1)


def class_design(parts: list[Part]) -> Tensor:
    """The design matrix of the regression: the looks of every class, one-hot, and 1; `[C, looks + 1]` float64."""
    looks = [part.one_hot() for part in parts]
    return torch.cat([*looks, torch.ones(len(looks[0]), 1, dtype=torch.float64)], dim=1)


def unexplained(seen: Tensor, design: Tensor, ridge: float) -> Tensor:
    """The residual of what is seen after fitting the effects of a design, `[C, F]`."""
    return seen - design @ _effects(seen, design, ridge)


def _effects(seen: Tensor, design: Tensor, ridge: float) -> Tensor:
    """The effect of every column of a design, by ridge regression, `[columns, F]`."""
    penalty = ridge * torch.eye(design.shape[1], dtype=torch.float64)
    return torch.linalg.solve(design.T @ design + penalty, design.T @ seen)


def distinct_choices(fits: list[Tensor]) -> Tensor:
    """One look of every part for every class, `[C, P]`: those that fit best, but never those of another class.

    Args:
        fits: for every part, how well each look fits each class, `[C, L]`. Classes that fit best choose first.
    """
    choices = torch.cartesian_prod(*(torch.arange(fit.shape[1]) for fit in fits))
    fit = torch.stack([fit[:, looks] for fit, looks in zip(fits, choices.T, strict=True)]).sum(0)
    chosen = torch.empty(len(fit), dtype=torch.long)
    for c in fit.amax(dim=1).argsort(descending=True).tolist():
        chosen[c] = fit[c].argmax()
        fit[:, chosen[c]] = -torch.inf
    return choices[chosen]
