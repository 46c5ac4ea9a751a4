"""The optimiser that a recipe asks for."""

import torch

from configs.recipes import DenseRecipe, FinetuneRecipe


def build_optimizer(parameters: list, recipe: DenseRecipe | FinetuneRecipe) -> torch.optim.Optimizer:
    """A fresh optimiser.

    Args:
        parameters: tensors, or groups of them.
        recipe: says which one, with which rate and weight decay.
    """
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
