"""Backbones by name. A further family is a module with the three functions of `Family`, and a row in `FAMILIES`."""

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Protocol

import torch

from architectures.backbones import local, placed, resnet, timm_models, truncated
from architectures.backbones.base import Backbone, BackboneSpec
from configs.errors import UsageError
from configs.model_size import check_backbone
from configs.settings import Settings


class Family(Protocol):
    """The functions that the module of a family of backbones has."""

    def names(self) -> Iterable[str]:
        """All names of the family."""

    def spec(self, name: str) -> BackboneSpec:
        """What is known of one of them."""

    def build(self, name: str) -> Backbone:
        """One of them with random weights."""


# Pixels along a side: a typo of one digit would fill the machine's memory.
LARGEST = 4096

# Asked in this order; families that take long to list come last.
FAMILIES: tuple[Family, ...] = (resnet, local, timm_models, truncated, placed)


def backbone_spec(name: str) -> BackboneSpec:
    """What is known of a backbone; UsageError, with similar names, if there is none of this name."""
    return _family(name).spec(name)


def backbone_of(settings: Settings) -> BackboneSpec:
    """What is known of a run's backbone; UsageError if it is unknown or lacks what the settings ask for."""
    spec = backbone_spec(settings.arch)
    if spec.must_be_frozen and not settings.freeze_backbone:
        raise UsageError(f"{spec.name} finds its places in a network that is not trained: add --freeze_backbone")
    check_backbone(
        settings, n_features=spec.n_features, sizes=range(spec.min_size, (spec.max_size or LARGEST) + 1, spec.size_step)
    )
    return spec


def build_backbone(name: str) -> Backbone:
    """A backbone with random weights; errors as in `backbone_spec`."""
    return _family(name).build(name)


@cache
def has_last_stage(name: str) -> bool:
    """Whether a backbone's last stage can be trained alone: built to find out, which draws no random numbers."""
    with torch.random.fork_rng(devices=[]):
        return build_backbone(name).train_last_stage()


def _family(name: str) -> Family:
    for family in FAMILIES:
        if name in family.names():
            return family
    known = [n for family in FAMILIES for n in family.names() if ("@" in n) == ("@" in name)]
    close = difflib.get_close_matches(name, known) or list(FAMILIES[0].names())
    raise UsageError(f"unknown arch {name!r}; similar names are {', '.join(close)}")
