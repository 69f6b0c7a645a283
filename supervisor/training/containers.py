"""Which values hold others, and how one is made anew around other values: the one place that knows.

Containers are mappings, lists, tuples (named ones too) and instances of dataclasses, frozen and slotted ones included.
Of a dataclass everything that an instance carries belongs to it, so that what its `__post_init__` adds is seen too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import Any

__all__ = ["attributes", "blank_twin", "entries", "is_record", "named_entries", "with_values"]

_NOTHING: tuple[()] = ()


def is_record(held: Any) -> bool:
    """Whether something is an instance of a dataclass, and no container of another kind as well."""
    return is_dataclass(held) and not isinstance(held, (type, Mapping, list, tuple))


def attributes(record: Any) -> dict[str, Any]:
    """What an instance of a dataclass carries, by name; values that it merely keeps from a computation left out."""
    kind = type(record)
    slots = (name for each in reversed(kind.__mro__) for name in _slots_of(each))
    names = [*(field.name for field in fields(record)), *slots, *getattr(record, "__dict__", ())]
    return {
        name: getattr(record, name)
        for name in dict.fromkeys(names)
        if not isinstance(getattr(kind, name, None), (cached_property, property)) and hasattr(record, name)
    }


def blank_twin(record: Any) -> Any:
    """An instance of the same class without attributes: `__init__` might refuse, or do something again."""
    return object.__new__(type(record))


def entries(tree: Any) -> Iterable[tuple[Any, Any]]:
    """What a container holds, with the key, the position or the name of each; nothing for anything else."""
    if isinstance(tree, Mapping):
        return tree.items()
    if isinstance(tree, (list, tuple)):
        return enumerate(tree)
    return attributes(tree).items() if is_record(tree) else _NOTHING


def named_entries(tree: Any) -> Mapping[Any, Any]:
    """What a container holds under names: a mapping itself, and a dataclass or a named tuple as one; else nothing."""
    if isinstance(tree, Mapping):
        return tree
    if isinstance(tree, tuple):
        return dict(zip(getattr(tree, "_fields", ()), tree, strict=False))
    return attributes(tree) if is_record(tree) else {}


def with_values(tree: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """A mapping of the kind of `tree` with other values under the same keys."""
    if type(tree) is dict:
        return values
    if not isinstance(tree, MutableMapping):
        return type(tree)(values)  # type: ignore[call-arg]
    # Copied and not constructed, since a class may want other arguments first, as defaultdict its factory; one by one,
    # since some forbid `update`.
    twin = copy.copy(tree)
    for key, value in values.items():
        twin[key] = value
    return twin


def _slots_of(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else slots
    return (name for name in names if name not in ("__dict__", "__weakref__"))
