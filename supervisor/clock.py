"""Time as an argument, so that nothing that waits or measures needs a real clock to be tested."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the supervisor asks of time."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC: for records."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, never going back: for durations."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    monotonic = staticmethod(time.monotonic)
    """Seconds since an arbitrary moment, never going back."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`, at once where that is zero or less."""
        time.sleep(max(0.0, seconds))
