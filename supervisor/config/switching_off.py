"""What to write to switch a section off: `null` where it may be null, its own `enabled` where it has one."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["NULL_IS_ON", "instead_of_switch", "instead_of_value", "is_switch", "may_be_null"]

NULL_IS_ON = "null is on"
"""Marks a section that `null` switches on, with what holds by default, and `false` off."""

_SWITCHES = frozenset({"active", "disable", "disabled", "enable", "enabled", "off", "on"})
_OFF = frozenset({"", "0", "disable", "disabled", "false", "n", "never", "no", "none", "nothing", "null", "off", "~"})


def is_switch(key: str) -> bool:
    """Whether a key is what people write to switch something on or off."""
    return key.lower() in _SWITCHES


def may_be_null(field: FieldInfo | None) -> bool:
    """Whether a key takes `null`."""
    if field is None or NULL_IS_ON in field.metadata:
        return False
    union = typing.get_origin(field.annotation) in (typing.Union, types.UnionType)
    return union and types.NoneType in typing.get_args(field.annotation)


def instead_of_value(
    key: str, value: Any, field: FieldInfo | None, models: Sequence[type[BaseModel]], keys: str
) -> str:
    """What to write instead of a value that is no mapping.

    Args:
        key: whose value it is.
        value: what stands there.
        field: of the key.
        models: what the value may be.
        keys: those that may be written, in words.
    """
    off = value is False or not value or (isinstance(value, str) and value.strip().lower() in _OFF)
    if field is not None and NULL_IS_ON in field.metadata:
        return f"write keys and values{keys}, `{key}: false` to switch it off, or nothing behind it for the defaults"
    if may_be_null(field):
        null = f"`{key}: null` to switch it off"
        return f"write {null}, or keys and values{keys}" if off else f"write keys and values{keys}, or {null}"
    if off and any("enabled" in model.model_fields for model in models):
        return f"write `{key}: {{enabled: false}}` to switch it off, or keys and values{keys}"
    return f"write keys and values{keys}"


def instead_of_switch(section: str, field: FieldInfo | None, names: Sequence[str]) -> str:
    """What to write instead of a key such as `enabled` in a section that has no such key.

    Args:
        section: the key of the section.
        field: of the section.
        names: the keys that it has.
    """
    one_of = f"one of: {', '.join(names)}"
    if field is not None and NULL_IS_ON in field.metadata:
        return f"write `{section}: false` to switch it off; to have it on, remove the key, or write {one_of}"
    if may_be_null(field):
        return f"write `{section}: null` to switch it off; to have it on, remove the key, or write {one_of}"
    return f"remove it, or write {one_of}"
