"""Changes of single recipe fields from the command line: `--set dense.lr=0.01`."""

import difflib
import typing
from collections.abc import Sequence
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

from configs import recipes
from configs.arguments import boolean, number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RECIPES = {
    "dense": recipes.DenseRecipe,
    "selection": recipes.SelectionRecipe,
    "groups": recipes.GroupsRecipe,
    "parts": recipes.PartsRecipe,
    "places": recipes.PlacesRecipe,
    "head": recipes.HeadRecipe,
    "finetune": recipes.FinetuneRecipe,
}
NAMES = [f"{recipe}.{field.name}" for recipe, kind in RECIPES.items() for field in fields(kind)]
R = TypeVar("R", bound="DataclassInstance")


def override(text: str) -> str:
    """A checked `RECIPE.FIELD=VALUE`, without spaces; ValueError if there is no such field, or the value is wrong."""
    name, equals, value = (part.strip() for part in text.partition("="))
    name = name.lower().replace("-", "_")
    if not equals:
        raise ValueError(f"{text!r} is not RECIPE.FIELD=VALUE, as in dense.lr=0.01")
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, cutoff=0.5)
        near = near or [known for known in NAMES if known.endswith(f".{name}")]
        near = near or [known for known in NAMES if known.startswith(name.partition(".")[0])]
        raise ValueError(f"no recipe has {name!r}; similar names are {', '.join(near or NAMES)}")
    _value(name, value)
    return f"{name}={value}"


def named(override: str) -> str:
    """The field that an override changes: `dense.lr`."""
    return override.partition("=")[0]


def overridden(recipe: R, name: str, overrides: Sequence[str]) -> R:
    """The recipe called `name` on the command line, changed by those of the checked overrides that concern it."""
    changes = {}
    for text in overrides:
        target, _, value = text.partition("=")
        group, _, field = target.partition(".")
        if group == name:
            changes[field] = _value(target, value)
    return replace(recipe, **changes)


def _value(name: str, text: str) -> Any:
    group, _, field = name.partition(".")
    kind = typing.get_type_hints(RECIPES[group], include_extras=True)[field]
    try:
        return _parsed(kind, text)
    except ValueError as error:
        raise ValueError(f"{name}={text}: {error}") from None


def _parsed(kind: Any, text: str) -> Any:
    """The text as a value of an annotated type; ValueError says what it should be."""
    form, inner = typing.get_origin(kind), typing.get_args(kind)
    if form is Annotated:
        return inner[1].checked(_parsed(inner[0], text))
    if form is Literal:
        if text not in inner:
            raise ValueError(f"choose one of {', '.join(inner)}")
        return text
    if form is tuple:
        return tuple(_parsed(inner[0], part) for part in text.split(","))
    if form in (Union, UnionType):
        (some,) = (option for option in inner if option is not NoneType)
        return None if text.lower() == "none" else _parsed(some, text)
    return boolean(text) if kind is bool else number(kind, text)
