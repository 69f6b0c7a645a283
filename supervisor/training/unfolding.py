"""Batches in a file that only holds plain containers, and what they were made of again afterwards.

Dataclasses become dictionaries and named tuples tuples, and the names of their classes are kept beside them. Only
classes that the process has imported by itself are looked up: a file names them, and executes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from supervisor.training.containers import entries, is_record

__all__ = ["folded", "unfolded"]

Kinds = dict[str, str]
"""For the path of each container that stands for one of another class, that class, as `module:name`."""


def unfolded(tree: Any, kinds: Kinds, path: str = "", _above: tuple[Any, ...] = ()) -> Any:
    """`tree` without dataclasses and named tuples; a container that holds itself stays in itself.

    Args:
        tree: containers, nested.
        kinds: takes the classes that were replaced.
        path: where `tree` stands.
    """
    contains = is_record(tree) or isinstance(tree, (Mapping, list, tuple))
    if not contains or any(each is tree for each in _above):
        return tree
    values = {key: unfolded(value, kinds, _below(path, key), (*_above, tree)) for key, value in entries(tree)}
    if is_record(tree) or hasattr(tree, "_fields"):
        kinds[path] = f"{type(tree).__module__}:{type(tree).__qualname__}"
    if isinstance(tree, (list, tuple)):
        return list(values.values()) if isinstance(tree, list) else tuple(values.values())
    return values


def folded(tree: Any, kinds: Mapping[str, str], path: str = "") -> Any:
    """The inverse of `unfolded`; what stands for a class that is not known here stays what it is."""
    kind = _class_of(kinds[path]) if path in kinds else None
    if isinstance(tree, Mapping):
        values = {key: folded(value, kinds, _below(path, key)) for key, value in tree.items()}
        return values if kind is None or issubclass(kind, tuple) else _made(kind, values)
    if isinstance(tree, (list, tuple)):
        held = [folded(value, kinds, _below(path, index)) for index, value in enumerate(tree)]
        return type(tree)(held) if kind is None or not issubclass(kind, tuple) else kind(*held)
    return tree


def _below(path: str, key: Any) -> str:
    # With the key as it is written in code, since a key may have dots in it.
    return f"{path}[{key!r}]"


def _class_of(name: str) -> type | None:
    module, _, qualified = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    fits = isinstance(found, type) and (is_dataclass(found) or (issubclass(found, tuple) and hasattr(found, "_fields")))
    return found if fits else None


def _made(kind: type, values: dict[Any, Any]) -> Any:
    made: Any = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made
