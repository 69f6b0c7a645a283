"""In what two sets of plain values differ: the settings of a run when it was started, and when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["differences"]

LONGEST = 60
"""How much of a value is shown, in characters."""

_NOT_SET = "not set"


def differences(old: Any, new: Any, path: str = "", *, added: bool = True) -> list[str]:
    """Every value that differs, as `cooldown_steps (20, now 5)`; lists are compared item by item.

    Args:
        old: mappings and lists of plain values, nested.
        new: the same, later.
        path: what the names of the values begin with.
        added: name keys that only one of two mappings has, too. What another version wrote may lack some.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = [name for name in dict.fromkeys((*old, *new)) if added or (name in old and name in new)]
        pairs = [(name, old.get(name, _NOT_SET), new.get(name, _NOT_SET)) for name in names]
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        pairs = [(index, *pair) for index, pair in enumerate(zip(old, new, strict=True))]
    elif old == new:
        return []
    else:
        return [f"{path} ({_shown(old)}, now {_shown(new)})"]
    found: list[str] = []
    for name, before, now in pairs:
        found += differences(before, now, f"{path}.{name}" if path else str(name), added=added)
    return found


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"{len(value)} items"
    text = "null" if value is None else str(value)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
