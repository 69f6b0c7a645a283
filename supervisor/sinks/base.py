"""What every sink is: told one event after the other, on a thread of its own, in a process beside the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from supervisor.events.schema import Event

__all__ = ["AboutRun", "Memory", "Sink", "SinkError"]

Memory = Mapping[str, Any]
"""What a sink keeps from one process to the next: plain values, as JSON has them."""


class SinkError(Exception):
    """A sink cannot do its work; the message is for the user, and says what to do."""


@dataclass(frozen=True)
class AboutRun:
    """The run that the sinks are told of.

    Attributes:
        run_id: its name in the log, the same after a resume.
        name: what people call it: the folder of the run.
        run_dir: the run directory.
        since: when the parent that feeds the sinks began, in UTC.
    """

    run_id: str
    name: str
    run_dir: Path
    since: datetime


class Sink:
    """Hands events on. What it raises is reported once and touches nobody else.

    All its methods are called in one thread. Events come in the order of the log, those of rank 0 and of the parent.
    Most sinks override `tell` and `flush` alone.

    Attributes:
        recalls: whether it wants to be told again, by `recall`, what an earlier process has told it already.
        patience_seconds: how long one call may take before it is said to be slow.
        cannot_wait: whether what it did just now must not be done again, so that its place is to be kept at once.
    """

    recalls = False
    patience_seconds = 4.0
    cannot_wait = False

    def open(self, memory: Memory) -> str | None:
        """Begin; called once, before all else.

        Args:
            memory: what `flush` gave last, in an earlier process of this run; empty at first.

        Returns:
            An address that the user is to be told, where it serves at one.

        Raises:
            SinkError: it cannot work at all.
        """
        return None

    def recall(self, event: Event, *, void: bool) -> None:
        """Take note of an event that it was told in an earlier process."""

    def tell(self, event: Event, *, void: bool) -> None:
        """Hand on an event.

        Args:
            event: the event. A `run_resumed` takes back what was told with an `update` at or above its own.
            void: whether such a one has taken it back already, before it could be told.
        """
        raise NotImplementedError

    def flush(self) -> Memory:
        """See to it that what was told is where it belongs, and give what is to be kept for a later process."""
        return {}

    def close(self) -> None:
        """End; called once, after the last `flush`."""
