"""A fault that is ready to strike, and the error for one that could never strike."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from supervisor.errors import InputError

__all__ = ["Strike", "unmatched"]


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that is ready to strike.

    Attributes:
        target: what it hits, None where there is nothing to name.
        do: strikes; may raise, block, or not return.
    """

    target: str | None
    do: Callable[[], None]


def unmatched(key: str, pattern: str, names: Iterable[str]) -> InputError:
    """The error for a glob that matches nothing, with the nearest names."""
    known = list(names)
    nearest = ", ".join(difflib.get_close_matches(pattern, known, n=3, cutoff=0.3) or known[:3])
    return InputError(f"faults: {key}: {pattern!r} matches no {key}: write one of: {nearest}")
