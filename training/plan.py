"""What a run trains, known before it begins: its phases, and how long their epochs take beside one another."""

from dataclasses import dataclass

from configs.recipes import DenseRecipe
from configs.settings import Settings

DENSE = "dense"  # name of the stage; that of a finetuning is the sparse model's
# Cost of an epoch with ordinary strides, where one with reduced strides costs 1: about a fourth to a fifth.
COARSE_COST = 0.22


@dataclass(frozen=True)
class PlannedPhase:
    """Epochs of one kind.

    Attributes:
        stage: `DENSE`, or the name of the sparse model.
        epochs: how many.
        cost: of an epoch; that of one at the final resolution is 1.
    """

    stage: str
    epochs: int
    cost: float = 1.0


def planned_phases(settings: Settings) -> list[PlannedPhase]:
    """All phases of a run, in order."""
    phases = []
    if settings.do_dense:
        coarse = coarse_epochs(settings.dense, settings.reduced_strides)
        if coarse:
            phases.append(PlannedPhase(DENSE, coarse, COARSE_COST))
        phases.append(PlannedPhase(DENSE, settings.dense.epochs - coarse))
    recipe = settings.finetuning
    for index, epochs in enumerate(recipe.round_epochs):
        coarse = settings.reduced_strides and index < recipe.coarse_rounds
        phases.append(PlannedPhase(settings.model_name, epochs, COARSE_COST if coarse else 1.0))
    return phases


def coarse_epochs(recipe: DenseRecipe, reduced_strides: bool) -> int:
    """How many of the first dense epochs keep the ordinary strides."""
    return (
        min(round(recipe.epochs * recipe.coarse_share), recipe.epochs - 1) if reduced_strides else 0
    )


def epochs_left(settings: Settings, stage: str, phase: int, done: float) -> float:
    """What is left to train in the whole run, in epochs as the present ones.

    Args:
        settings: the run's.
        stage: that is trained.
        phase: of the stage, from 0.
        done: epochs of the phase.
    """
    planned = planned_phases(settings)
    now = [p.stage for p in planned].index(stage) + phase
    left = planned[now].cost * (planned[now].epochs - done)
    return (left + sum(p.cost * p.epochs for p in planned[now + 1 :])) / planned[now].cost
