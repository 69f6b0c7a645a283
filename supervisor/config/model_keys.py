"""Which keys a pydantic model takes, with which values, and where they stand."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from supervisor.config.origins import KeyPath

__all__ = ["all_paths", "choices_of", "keys_of", "models_in", "tag_of"]


def _parts(annotation: Any) -> Iterator[Any]:
    """A type, and everything in its brackets."""
    yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def choices_of(field: FieldInfo | None) -> list[str]:
    """The values that a field takes, where it takes a few alone; else nothing."""
    choices: list[str] = []
    for part in _parts(field.annotation) if field else ():
        if isinstance(part, type) and issubclass(part, enum.Enum):
            choices += [str(member.value) for member in part]
        elif isinstance(part, str):
            choices.append(part)
    return choices


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that are written for them: their aliases, where they have one."""
    keys = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
        keys[alias if isinstance(alias, str) else name] = field
    return keys


def models_in(field: FieldInfo | None) -> list[type[BaseModel]]:
    """The models that a field's value may be of, or hold."""
    parts = _parts(field.annotation) if field else ()
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


def tag_of(model: type[BaseModel]) -> tuple[str, str]:
    """The key that tells a model from others in a list, which can have one value only, and that value; empty: none."""
    for name, field in keys_of(model).items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name, str(field.default)
    return "", ""


def all_paths(model: type[BaseModel]) -> Iterator[tuple[KeyPath, type[BaseModel]]]:
    """The path of every key that can be written, and the model it belongs to; one that holds itself is entered once."""
    yield from _paths_below(model, (), (model,))


def _paths_below(
    model: type[BaseModel], path: tuple[str, ...], above: tuple[type[BaseModel], ...]
) -> Iterator[tuple[KeyPath, type[BaseModel]]]:
    for name, field in keys_of(model).items():
        yield (*path, name), model
        for inner in models_in(field):
            if inner not in above:
                yield from _paths_below(inner, (*path, name), (*above, inner))
