"""Learning rate and grounding weight as functions of the epoch, so there is no state to save."""

import math

from configs.recipes import DenseRecipe, FinetuneRecipe


def dense_learning_rate(recipe: DenseRecipe, base: float, epoch: float) -> float:
    """Learning rate of the dense training after `epoch` epochs (a fraction within one), from `base`."""
    if recipe.schedule == "step":
        return step_decay(base, epoch, recipe.step_size, recipe.gamma)
    progress = epoch / recipe.epochs
    if progress < recipe.warm_up:
        return base * (0.05 + 0.95 * progress / recipe.warm_up)
    return cosine_decay(base, (progress - recipe.warm_up) / (1 - recipe.warm_up))


def step_decay(base: float, epoch: float, step_size: int, gamma: float) -> float:
    """`base`, multiplied by `gamma` every `step_size` epochs."""
    return base * gamma ** (int(epoch) // step_size)


def cosine_decay(base: float, progress: float) -> float:
    """`base` at first, 0 at the end (`progress` 1)."""
    return base * 0.5 * (1 + math.cos(math.pi * progress))


def finetune_learning_rate(recipe: FinetuneRecipe, round_index: int, epoch: float) -> float:
    """Learning rate in a finetuning round (from 0) after `epoch` of its epochs (a fraction within one)."""
    base = recipe.lr * recipe.round_decay**round_index
    if recipe.schedule == "cosine":
        return cosine_decay(base, epoch / recipe.round_epochs[round_index])
    return step_decay(base, epoch, recipe.step_size, recipe.gamma)


def grounding_weight(recipe: FinetuneRecipe, epoch: float) -> float:
    """Factor of the feature grounding loss; 0 after the recipe's `grounding_epochs` of a round."""
    ends = recipe.grounding_epochs
    return recipe.grounding_weight if ends is None or int(epoch) < ends else 0.0
