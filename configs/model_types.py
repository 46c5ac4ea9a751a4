"""The four model types: everything that distinguishes one from another, a row each.

A further type is a row here, and a file of its own if it chooses its features in a new way.
"""

from dataclasses import dataclass, field

from configs.recipes import FinetuneRecipe, HeadRecipe, SelectionRecipe


@dataclass(frozen=True)
class ModelType:
    """What a model type is."""

    title: str  # its name in tables and plots
    # `module:function` that takes the settings and pooled features with their labels, and returns the sparse layer
    chooser: str
    class_sets: bool  # whether every class is a set of `n_per_class` features: weights are 0 or 1
    hierarchical: bool  # whether these sets form the hierarchy that explains and calibrates; it needs `class_sets`
    selection: SelectionRecipe = field(default_factory=SelectionRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    finetuning: FinetuneRecipe = field(default_factory=FinetuneRecipe)


FOUR_ROUNDS = (10, 10, 10, 40)
MODEL_TYPES = {
    "chiqpm": ModelType(
        title="CHiQPM",
        chooser="sparsification.select:quadratic_program",
        class_sets=True,
        hierarchical=True,
        selection=SelectionRecipe(pair_density=0.5),
        head=HeadRecipe(relu=True),
        finetuning=FinetuneRecipe(FOUR_ROUNDS, grounding_weight=3.0, grounding_epochs=30),
    ),
    "qpm": ModelType(
        title="QPM", chooser="sparsification.select:quadratic_program", class_sets=True, hierarchical=True
    ),
    "qsenn": ModelType(
        title="Q-SENN",
        chooser="sparsification.select:qsenn",
        class_sets=False,
        hierarchical=False,
        head=HeadRecipe(train_normalisation=True),
        finetuning=FinetuneRecipe(FOUR_ROUNDS, refit=True),
    ),
    "sldd": ModelType(
        title="SLDD",
        chooser="sparsification.select:sldd",
        class_sets=False,
        hierarchical=False,
        head=HeadRecipe(train_normalisation=True),
    ),
}
