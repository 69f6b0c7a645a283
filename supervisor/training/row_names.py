"""What a row of a data set is called in a record: the number or the text that a sampler asks for it by."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

__all__ = ["Index", "row_name", "row_names"]

Index = int | str
"""What a data set is asked for a row by, where a record can tell it."""


def row_name(index: Any) -> Index | None:
    """What a sampler gives for a row, as a plain number or text; None for other keys, which have no name in a record.

    Numbers come as NumPy's and as tensors, too.
    """
    if isinstance(index, str):
        return str(index)
    try:
        return operator.index(index)
    except (TypeError, ValueError):
        return None


def row_names(indices: Iterable[Any]) -> list[Index] | None:
    """The names of rows; None where one of them has none."""
    names: list[Index] = []
    for index in indices:
        name = row_name(index)
        if name is None:
            return None
        names.append(name)
    return names
