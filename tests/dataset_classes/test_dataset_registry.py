"""Datasets by name."""

import pytest

from configs.recipes import DATASETS
from dataset_classes.base import ImageDataset
from dataset_classes.registry import dataset_class


@pytest.mark.parametrize("name", DATASETS)
def test_every_recipe_names_the_class_of_its_dataset(name):
    found = dataset_class(name.lower())
    assert issubclass(found, ImageDataset) and found.name == name
