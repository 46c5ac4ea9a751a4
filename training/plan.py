"""The phases that a run will train, and how long their epochs take relative to one another."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from architectures.backbones.registry import backbone_spec, has_last_stage
from configs.recipes import DenseRecipe
from configs.settings import Settings

DENSE = "dense"  # name of the stage; a finetuning has the name of the sparse model
# Costs of an epoch, relative to one with reduced strides: with ordinary strides about a fourth to a fifth, and next to
# nothing on stored maps of a frozen network.
COARSE_COST, STORED_COST = 0.22, 0.004
FORWARD_COST = 1 / 3  # of a forward pass, relative to a training step of the whole network
PLACES_COST = 0.28  # of the search for places in an image, beside a training step on it with reduced strides
LAST_STAGE_COST = 0.15  # of the last stage's training on stored maps, beside looking with the whole network


@dataclass(frozen=True)
class PlannedPhase:
    """Epochs of the same kind."""

    stage: str  # `DENSE`, or the name of the sparse model
    epochs: int
    cost: float = 1.0  # of an epoch; that of one at the final resolution is 1
    # The epochs, from 0, whose maps of a frozen network are not stored yet; None: those of all epochs
    new_views: range | None = None
    stored_cost: float = STORED_COST

    def epoch_cost(self, epoch: int) -> float:
        """Cost of one epoch, from 0."""
        return self.cost if self.new_views is None or epoch in self.new_views else self.stored_cost

    def cost_after(self, done: float = 0) -> float:
        """Cost of the epochs that are left after `done` of them."""
        left = range(int(done), self.epochs)
        new = left if self.new_views is None else self.new_views
        n_new = len(range(max(new.start, left.start), min(new.stop, left.stop)))
        cost = self.cost * n_new + self.stored_cost * (len(left) - n_new)
        return cost - (self.epoch_cost(left.start) * (done % 1) if left else 0)


def planned_phases(settings: Settings, *, dense: bool | None = None) -> list[PlannedPhase]:
    """All phases that a call trains, in order, assuming that maps of frozen layers fit into memory.

    Args:
        dense: whether the dense model is trained in the same call, so that finetuning finds its maps of a frozen
            network stored; None: as the settings say.
    """
    phases: list[PlannedPhase] = []
    stored = 0  # views
    for stage, epochs, coarse in _epochs_by_strides(settings, settings.do_dense if dense is None else dense):
        cost = COARSE_COST if coarse and ends_reduced(settings) else 1.0
        last_stage = stage != DENSE and trains_last_stage(settings)
        views = settings.dense.views if stage == DENSE else settings.finetuning.views
        new_views, stored_cost = None, STORED_COST
        if views and maps_are_stored(settings, stage):
            if last_stage and not any(p.stage == stage for p in phases):
                stored = 0  # dense training stored maps of other layers
            new_views = range(stored, views)
            stored = max(stored, min(views, epochs))
            if last_stage:
                looking = cost if settings.freeze_backbone else cost * FORWARD_COST
                stored_cost = LAST_STAGE_COST * looking
                cost = looking + stored_cost
        phases.append(PlannedPhase(stage, epochs, cost, new_views, stored_cost))
    return phases


def _epochs_by_strides(settings: Settings, dense: bool) -> Iterator[tuple[str, int, bool]]:
    """The stage of every phase, its epochs, and whether they have the ordinary strides."""
    reduced = trains_reduced(settings)
    if dense:
        coarse = coarse_epochs(settings.dense, reduced)
        if coarse:
            yield DENSE, coarse, True
        yield DENSE, settings.dense.epochs - coarse, not reduced
    for index, epochs in enumerate(settings.finetuning.round_epochs):
        yield settings.model_name, epochs, not round_is_reduced(settings, index)


def maps_are_stored(settings: Settings, stage: str) -> bool:
    """Whether a stage trains behind frozen layers, whose maps can then be stored."""
    return settings.freeze_backbone or (stage != DENSE and trains_last_stage(settings))


def trains_last_stage(settings: Settings) -> bool:
    """Whether finetuning trains only the network's last stage: if that is asked for and it has one."""
    return settings.finetuning.last_stage and has_last_stage(settings.arch)


def ends_reduced(settings: Settings) -> bool:
    """Whether the finished network has reduced strides; many networks have none to reduce."""
    return settings.reduced_strides and backbone_spec(settings.arch).has_strides


def trains_reduced(settings: Settings) -> bool:
    """Whether training ever reduces the strides; behind a frozen network it keeps the ordinary ones."""
    return ends_reduced(settings) and not settings.freeze_backbone


def coarse_epochs(recipe: DenseRecipe, reduced_strides: bool) -> int:
    """How many of the first dense epochs keep the ordinary strides."""
    return min(round(recipe.epochs * recipe.coarse_share), recipe.epochs - 1) if reduced_strides else 0


def round_is_reduced(settings: Settings, index: int) -> bool:
    """Whether a round of the finetuning, from 0, has the reduced strides."""
    coarse = index < settings.finetuning.coarse_rounds
    return trains_reduced(settings) and not coarse


def epochs_left(settings: Settings, stage: str, phase: int, done: float, *, dense: bool | None = None) -> float:
    """What is left to train in the whole run, in units of the present epoch.

    Args:
        phase: of the stage, from 0.
        done: epochs of the phase.
        dense: as in `planned_phases`.
    """
    planned = planned_phases(settings, dense=dense)
    now = [p.stage for p in planned].index(stage) + phase
    left = planned[now].cost_after(done) + sum(p.cost_after() for p in planned[now + 1 :])
    present = max(0, math.ceil(done) - 1)  # also at the end of an epoch
    return left / planned[now].epoch_cost(present)
