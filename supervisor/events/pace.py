"""How fast a run goes, how long it still takes, and what memory its process holds."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from supervisor.clock import Clock

__all__ = ["Pace", "resident_bytes", "said_bytes", "said_left", "time_left"]

WINDOW = 60
"""How many looks at the clock the speed is taken over."""

LOOK_SECONDS = 0.5
"""Time between two of them."""


class Pace:
    """Counts steps, whatever their position in the schedule: after a reload the same ones are done again.

    Args:
        clock: measures.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done = 0
        self._looks: deque[tuple[float, int]] = deque([(clock.monotonic(), 0)], maxlen=WINDOW)

    def step(self) -> None:
        """A step was done."""
        self._done += 1
        now = self._clock.monotonic()
        if now - self._looks[-1][0] >= LOOK_SECONDS:
            self._looks.append((now, self._done))

    @property
    def steps_a_second(self) -> float | None:
        """Over the last half minute or so; None before there is anything to go by."""
        at, done = self._looks[0]
        seconds = self._clock.monotonic() - at
        return (self._done - done) / seconds if seconds > 0 and self._done > done else None


def time_left(steps: int, steps_a_second: float | None) -> str | None:
    """`12 min left`, as a person would say it; None where it is not known.

    Args:
        steps: how many are left to do.
        steps_a_second: how fast they are done.
    """
    if steps <= 0 or not steps_a_second:
        return None
    return said_left(steps / steps_a_second)


def said_left(seconds: float) -> str:
    """`12 min left`, as a person would say it."""
    seconds = round(seconds)
    if seconds < 90:
        return f"{seconds} s left"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min left"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min left"
    return f"{hours // 24} d {hours % 24} h left"


def resident_bytes(pid: int | str = "self") -> int | None:
    """The memory that a process holds, this one where none is named; None where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def said_bytes(number: int) -> str:
    """`812 MB`, `3.2 GB`."""
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
