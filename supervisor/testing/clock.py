"""A clock that moves only when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock"]


class FakeClock:
    """A `Clock` for tests: `sleep` returns at once and moves the time forward.

    Args:
        start: the first answer of `now`; aware.
        tick_seconds: moved forward after each `now`, where lines must not share a time.
        on_sleep: called with the seconds after each `sleep` has moved the time: the world goes on meanwhile.

    Attributes:
        sleeps: every `seconds` that `sleep` was asked for, in order.
    """

    def __init__(
        self,
        start: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        *,
        tick_seconds: float = 0.0,
        on_sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.sleeps: list[float] = []
        self._start = start
        self._elapsed_seconds = 0.0
        self._tick_seconds = tick_seconds
        self._on_sleep = on_sleep
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The start plus what has been slept, advanced and ticked."""
        with self._lock:
            now = self._start + timedelta(seconds=self._elapsed_seconds)
            self._elapsed_seconds += self._tick_seconds
        return now

    def monotonic(self) -> float:
        """Seconds since the start."""
        with self._lock:
            return self._elapsed_seconds

    def advance(self, seconds: float) -> None:
        """Move the time forward by `seconds`, as an outside world would."""
        with self._lock:
            self._elapsed_seconds += seconds

    def sleep(self, seconds: float) -> None:
        """Move the time forward by `seconds` and return."""
        self.advance(max(0.0, seconds))
        self.sleeps.append(seconds)
        if self._on_sleep is not None:
            self._on_sleep(seconds)
