"""When each event of a log happened, in seconds of the run: by clocks that cannot be set back, as far as it goes."""

from __future__ import annotations

from datetime import datetime

from supervisor.events.schema import Event

__all__ = ["Timeline"]


class Timeline:
    """Puts events, told in order, at seconds since the first one. They never go back.

    Two lines of one start of a machine are as far apart as its monotonic clock says. Only between machines, and in logs
    of before it was written down, the time of day tells; where that was set back, no time has passed.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._boots: dict[int | None, str] = {}
        self._last: tuple[str | None, float | None, datetime] | None = None

    @property
    def monotonic(self) -> float | None:
        """The reading of the monotonic clock that `now` stands for; None where the lines do not say."""
        return None if self._last is None else self._last[1]

    def tell(self, event: Event) -> float:
        """Take in the next event, and give the seconds since the one before."""
        if event.boot is not None:
            self._boots[event.rank] = event.boot
        mark = (self._boots.get(event.rank), event.monotonic, event.time)
        last, self._last = self._last, mark
        if last is None:
            return 0.0
        boot, then, time = last
        if boot is not None and boot == mark[0] and then is not None and event.monotonic is not None:
            passed = event.monotonic - then
            if passed < 0:
                # The parent's lines of a life come after the worker's, whenever they were written.
                self._last = last
        else:
            passed = (event.time - time).total_seconds()
        passed = max(0.0, passed)
        self.now += passed
        return passed
