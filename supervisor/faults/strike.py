"""A fault that is ready to strike, and the error for one that could never strike."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from supervisor.errors import InputError

__all__ = ["FaultMisfit", "Strike", "unmatched"]


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that is ready to strike.

    Attributes:
        target: what it hits, None where there is nothing to name.
        do: strikes; may raise, block, or not return.
    """

    target: str | None
    do: Callable[[], None]


class FaultMisfit(InputError):
    """A fault that is right by itself cannot strike this trainer.

    Args:
        what: what is wrong, and what to write instead.
        key: the fault's key at fault; none for the fault itself.
    """

    def __init__(self, what: str, key: str = "") -> None:
        super().__init__(f"faults: {key}: {what}" if key else f"faults: {what}")
        self.what, self.path = what, (key,) if key else ()

    def of(self, index: int) -> FaultMisfit:
        """The same, with the fault's index in its script before the key."""
        self.path = ("faults", index, *self.path)
        return self


def unmatched(key: str, pattern: str, names: Iterable[str]) -> FaultMisfit:
    """The error for a glob that matches nothing, with the nearest names."""
    known = list(names)
    nearest = ", ".join(difflib.get_close_matches(pattern, known, n=3, cutoff=0.3) or known[:3])
    return FaultMisfit(f"{pattern!r} matches no {key}: write one of: {nearest}", key)
