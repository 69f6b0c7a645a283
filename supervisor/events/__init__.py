"""The event log: its schema, its writer, its reader and the console that tells it as it grows.

The names are resolved when they are first used: whoever only reads a log needs no writer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.events.reader import follow, read_events
    from supervisor.events.schema import Event, RunStatus, RunSummary
    from supervisor.events.writer import EventLog

__all__ = ["Event", "EventLog", "RunStatus", "RunSummary", "follow", "read_events"]

_HOME = {
    "Event": "schema",
    "EventLog": "writer",
    "RunStatus": "schema",
    "RunSummary": "schema",
    "follow": "reader",
    "read_events": "reader",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
