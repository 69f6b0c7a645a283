"""The event log: its schema, its writer, its reader and the console that shows it as it grows."""

from __future__ import annotations

from supervisor.events.reader import follow, read_events
from supervisor.events.schema import Event, KnownEvent, RunStatus, RunSummary, parse_event
from supervisor.events.writer import EventLog, Listener

__all__ = [
    "Event",
    "EventLog",
    "KnownEvent",
    "Listener",
    "RunStatus",
    "RunSummary",
    "follow",
    "parse_event",
    "read_events",
]
