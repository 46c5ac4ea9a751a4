"""The recipes' schedules against the published ones, epoch by epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from architectures.classifier import build_dense_model
from configs.model_types import MODEL_TYPES
from configs.recipes import (
    FROM_SCRATCH,
    FROZEN,
    SHORT,
    DenseRecipe,
    FinetuneRecipe,
    GroupsRecipe,
    dense_recipe,
    finetune_recipe,
    regime_of,
)
from training.dense import dense_phases, left_over_epochs
from training.finetune import finetune_phase
from training.schedules import dense_learning_rate, finetune_learning_rate, grounding_weight


@pytest.mark.parametrize("case", [1, 2])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_finetuning_is_the_published_one(golden, case, model_type):
    data, recipe = golden(f"schedule_{case}"), MODEL_TYPES[model_type].finetuning
    epochs = [
        (index + 1, epoch, finetune_learning_rate(recipe, index, epoch), grounding_weight(recipe, epoch))
        for index, length in enumerate(recipe.round_epochs)
        for epoch in range(length)
    ]
    np.testing.assert_allclose(epochs, data[f"out_epochs_{model_type}"], rtol=1e-9)
    rounds = data[f"out_rounds_{model_type}"]
    assert (rounds[:, 3] == recipe.momentum).all() and (rounds[:, 4] == recipe.weight_decay).all()


def test_dense_training_is_the_published_one(golden):
    recipe, published = DenseRecipe(), golden("schedule_1")["out_dense"][0]
    assert published.tolist() == [
        recipe.epochs, recipe.lr, recipe.classifier_lr, recipe.momentum, recipe.weight_decay,
        recipe.weight_decay, recipe.step_size, recipe.gamma, 0,
    ]  # fmt: skip
    assert dense_learning_rate(recipe, recipe.lr, 29.9) == recipe.lr
    assert dense_learning_rate(recipe, recipe.lr, 60) == pytest.approx(recipe.lr * 0.16)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_batches_dropout_and_diversity_are_the_published_ones(model_type):
    for recipe, dropout in zip(recipes_of(model_type, "CUB2011", "resnet50", "imagenet"), (0.2, 0.1), strict=True):
        assert (recipe.batch_size, recipe.dropout, recipe.diversity_weight) == (16, dropout, 0.196)


def test_one_cycle_warms_up_and_ends_at_zero():
    rates = [dense_learning_rate(FROM_SCRATCH.dense, 0.1, e) for e in np.linspace(0, FROM_SCRATCH.dense.epochs, 50)]
    assert max(rates) == pytest.approx(0.1, rel=0.01)
    assert rates[0] < 0.01 and rates[-1] == pytest.approx(0, abs=1e-9)


def test_a_round_of_finetuning_may_end_at_zero():
    recipe = replace(MODEL_TYPES["qsenn"].finetuning, schedule="cosine", lr=0.1)
    first, last = recipe.round_epochs[0], recipe.round_epochs[-1]
    rates = [finetune_learning_rate(recipe, 0, e) for e in (0, first / 2, first)]
    assert rates == pytest.approx([0.1, 0.05, 0])
    assert finetune_learning_rate(recipe, 3, last / 2) == pytest.approx(0.05 * recipe.round_decay**3)


def test_a_round_of_finetuning_smooths_labels_as_its_recipe_says():
    recipe = FinetuneRecipe(label_smoothing=0.3)
    assert finetune_phase(build_dense_model("resnet18", 3), recipe, 0).label_smoothing == 0.3


def recipes_of(kind, *start, scale=1, batch_size=None):
    """Dense and finetuning recipe of a model type; `start`: dataset, arch, weights, whether frozen."""
    regime, kind = regime_of(*start), MODEL_TYPES[kind]
    return (dense_recipe(regime, scale, batch_size), finetune_recipe(kind.finetuning, regime, scale, batch_size))


def test_a_scaled_schedule_keeps_its_shape():
    _, recipe = recipes_of("chiqpm", "CUB2011", "resnet50", "imagenet", scale=0.1)
    assert (recipe.round_epochs, recipe.step_size, recipe.grounding_epochs) == ((1, 1, 1, 4), 1, 3)
    dense, _ = recipes_of("chiqpm", "CUB2011", "resnet50", "imagenet", scale=0.001)
    assert dense.epochs == 1


def test_the_normalisation_is_trained_as_published_unless_weights_are_random():
    for dataset in ("CUB2011", "SyntheticBirds"):
        for weights, in_own_units in (("imagenet", False), ("none", True)):
            _, found = recipes_of("qsenn", dataset, "resnet50", weights)
            assert found.normalisation_in_own_units == in_own_units


def test_random_weights_get_the_recipe_for_them():
    dense, finetuning = recipes_of("qpm", "CUB2011", "resnet50", "none")
    assert dense == FROM_SCRATCH.dense
    assert finetuning.lr == FROM_SCRATCH.finetuning["lr"]
    dense, finetuning = recipes_of("qpm", "CUB2011", "resnet50", "none", batch_size=8)
    assert dense.batch_size == finetuning.batch_size == 8
    dense, _ = recipes_of("qpm", "CUB2011", "resnet50", "imagenet", batch_size=32)
    assert dense == DenseRecipe(batch_size=32)


def test_only_networks_of_small_receptive_field_learn_the_drawn_birds_by_their_recipe():
    local, finetuning = recipes_of("chiqpm", "SyntheticBirds", "local19", "none")
    assert local.mixed_images > 1 and local.left_over_rounds and local.optimizer == "adamw"
    assert finetuning.optimizer == "adamw"
    others, finetuning = recipes_of("chiqpm", "SyntheticBirds", "resnet18", "none")
    assert others.mixed_images == 1 and not others.left_over_rounds
    assert others.optimizer == finetuning.optimizer == "sgd"


def test_looks_are_left_over_in_the_last_two_thirds_of_the_training():
    recipe = replace(FROM_SCRATCH.dense, epochs=15, left_over_rounds=5)
    assert left_over_epochs(recipe) == {5, 7, 9, 11, 13}
    assert left_over_epochs(replace(recipe, left_over_rounds=0)) == set()
    assert left_over_epochs(replace(recipe, epochs=1)) <= {0, 1}


def test_imagenet_has_its_own_batch_size_and_finetuning_rate():
    dense, finetuning = recipes_of("qpm", "ImageNet", "resnet50", "imagenet")
    assert dense == DenseRecipe(batch_size=64)
    assert finetuning.batch_size == 64
    assert finetuning.lr == pytest.approx(1.28e-4)


def test_behind_a_frozen_network_a_few_views_are_trained_on_for_many_epochs():
    for dataset in ("CUB2011", "ImageFolder"):
        for kind in MODEL_TYPES:
            dense, finetuning = recipes_of(kind, dataset, "resnet50", "imagenet", True)
            assert dense == FROZEN.dense
            assert len(finetuning.round_epochs) == (4 if kind == "qsenn" else 1)  # fitted again in between
            assert finetuning.views == dense.views == dense.epochs
            assert finetuning.optimizer == "adamw" and finetuning.schedule == "cosine" and finetuning.last_stage
            assert sum(finetuning.round_epochs) > 3 * dense.epochs


def test_coarse_maps_come_first_within_one_schedule():
    model, recipe = build_dense_model("resnet18", 3), replace(FROM_SCRATCH.dense, epochs=8)
    images = torch.rand(2, 3, 64, 64)
    coarse, fine = dense_phases(model, recipe, GroupsRecipe(), reduced_strides=True)
    first = coarse(True)
    assert model(images).feature_maps.shape == (2, 512, 2, 2)
    second = fine(True)
    assert model(images).feature_maps.shape == (2, 512, 8, 8)
    assert (first.epochs, second.epochs) == (6, 2)
    rates = [*(first.learning_rates(e) for e in range(6)), *(second.learning_rates(e) for e in range(2))]
    assert rates == [[dense_learning_rate(recipe, r, e) for r in (recipe.lr, recipe.classifier_lr)] for e in range(8)]


@pytest.mark.parametrize(
    ("recipe", "reduced_strides"),
    [
        (replace(FROM_SCRATCH.dense, epochs=8), False),
        (replace(FROM_SCRATCH.dense, epochs=1), True),
        (DenseRecipe(), True),
    ],
)
def test_one_phase_where_nothing_changes(recipe, reduced_strides):
    (only,) = dense_phases(build_dense_model("resnet18", 3), recipe, GroupsRecipe(), reduced_strides)
    assert only(True).epochs == recipe.epochs


@pytest.mark.parametrize(("dataset", "arch"), [("CUB2011", "tf_efficientnet_lite0"), ("ImageFolder", "resnet50")])
def test_pretrained_networks_without_a_paper_are_trained_for_a_short_time(dataset, arch):
    dense, finetuning = recipes_of("chiqpm", dataset, arch, "imagenet")
    assert dense == SHORT.dense
    assert sum(finetuning.round_epochs) <= 6
    assert finetuning.coarse_rounds < len(finetuning.round_epochs)
    assert recipes_of("chiqpm", dataset, arch, "none")[0] == FROM_SCRATCH.dense
