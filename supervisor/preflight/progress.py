"""How far a pass over the data is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from supervisor.clock import Clock, SystemClock

__all__ = ["PassProgress"]

REFRESH_SECONDS = 0.2


class PassProgress:
    """A bar on stderr for the time of its block.

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
        # No refresh thread: one that holds a lock while the data loader forks can hang the child.
        columns = (TextColumn(unit), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task(unit, total=total)

    def shown(self, done: int) -> None:
        """So many were looked at."""
        now = self._clock.monotonic()
        if not self._console.is_terminal or now - self._drawn_at < REFRESH_SECONDS:
            return
        self._drawn_at = now
        # A terminal that is gone is no reason to end.
        with contextlib.suppress(OSError):
            self._bar.update(self._task, completed=done)
            self._bar.refresh()

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
