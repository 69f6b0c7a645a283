"""How far a pass over the data is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from supervisor.clock import Clock, SystemClock

__all__ = ["PassProgress"]

REFRESH_SECONDS = 0.2
LINE_SECONDS = 30.0
"""Seconds between two lines where there is no terminal."""


class PassProgress:
    """A bar on stderr for the time of its block; where that is no terminal, a line every 30 seconds.

    Args:
        unit: what is counted.
        total: how many there will be, None where that is not known.
        console: where it is drawn.
        clock: how often, is counted on it.
    """

    def __init__(
        self, unit: str, total: int | None, console: Console | None = None, clock: Clock | None = None
    ) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._clock = clock or SystemClock()
        self._drawn_at = float("-inf")
        self._said_at = self._clock.monotonic()
        self._of = unit if total is None else f"of {total:,} {unit}"
        # No refresh thread: one that holds a lock while the data loader forks can hang the child.
        columns = (TextColumn(unit), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task(unit, total=total)

    def shown(self, done: int) -> None:
        """So many were looked at."""
        now = self._clock.monotonic()
        if not self._console.is_terminal:
            self._say(done, now)
            return
        if now - self._drawn_at < REFRESH_SECONDS:
            return
        self._drawn_at = now
        # A terminal that is gone is no reason to end.
        with contextlib.suppress(OSError):
            self._bar.update(self._task, completed=done)
            self._bar.refresh()

    def _say(self, done: int, now: float) -> None:
        if now - self._said_at < LINE_SECONDS:
            return
        self._said_at = now
        with contextlib.suppress(OSError):
            self._console.print(f"supervisor: reading the data: {done:,} {self._of}", highlight=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            with contextlib.suppress(OSError):
                self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            with contextlib.suppress(OSError):
                self._bar.stop()
