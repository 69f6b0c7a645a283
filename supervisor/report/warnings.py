"""The warnings of a run: how many, and the last few that say different things."""

from __future__ import annotations

import re

from supervisor.events import schema
from supervisor.events.schema import Event

__all__ = ["Warnings"]

_MOST = 3
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Warnings:
    """Takes in events, and keeps the last few warnings.

    Attributes:
        count: how many there were.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[str, str] = {}

    def tell(self, event: Event) -> None:
        """Take in the next event."""
        if not isinstance(event, schema.WarningEvent):
            return
        self.count += 1
        # Slow steps differ in their seconds alone, and would leave no room for another warning.
        alike = _NUMBER.sub("#", event.message)
        self._last.pop(alike, None)
        self._last[alike] = event.message if event.step is None else f"step {event.step}: {event.message}"
        if len(self._last) > _MOST:
            del self._last[next(iter(self._last))]

    @property
    def last(self) -> tuple[str, ...]:
        """The last ones, the newest at the end; of those that differ in numbers alone the newest."""
        return tuple(self._last.values())
