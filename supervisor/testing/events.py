"""A listener that keeps what it hears."""

from __future__ import annotations

from typing import Any

__all__ = ["EventList"]


class EventList(list[Any]):
    """The events that were told to it, in order."""

    def __call__(self, event: Any) -> None:
        """Keep an event."""
        self.append(event)

    def named(self, *names: str) -> list[Any]:
        """The events of these names, in order."""
        return [event for event in self if event.event in names]

    def actions(self) -> list[str]:
        """The actions decided on, in order."""
        return [str(event.action) for event in self.named("decision")]
