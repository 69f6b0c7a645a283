"""The event log: its schema, its writer, its reader and the console that shows it as it grows."""

from __future__ import annotations

from supervisor.events.reader import follow, read_events
from supervisor.events.schema import Event, RunStatus, RunSummary
from supervisor.events.writer import EventLog

__all__ = ["Event", "EventLog", "RunStatus", "RunSummary", "follow", "read_events"]
