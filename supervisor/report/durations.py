"""Times as a person would say them, and how long ago a run went without a word."""

from __future__ import annotations

from datetime import datetime

from supervisor.clock import Clock, SystemClock
from supervisor.events.owner_file import read_owner
from supervisor.run_layout import RunLayout

__all__ = ["duration", "how_it_went"]

# Seconds and name of a unit, and of the smaller one that its remainder is told in.
_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float) -> str:
    """Seconds as a person would say them: `48 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.3g} s"
    total = round(seconds)
    size, name, smaller, smaller_name = next(units for units in _UNITS if total >= units[0])
    rest = total % size // smaller
    return f"{total // size} {name}" + (f" {rest} {smaller_name}" if rest else "")


def how_it_went(layout: RunLayout, updated: datetime | None, clock: Clock | None = None) -> str | None:
    """Of a run whose process is gone and did not say so: since when, and how it can go on.

    Args:
        layout: of its directory.
        updated: the time of its last event.
        clock: says what time it is.

    Returns:
        None where its process is there, or where that cannot be known.
    """
    owner = read_owner(layout.lock)
    if owner is None or owner.alive is not False:
        return None
    now = (clock or SystemClock()).now()
    since = "" if updated is None else f" (last event {duration((now - updated).total_seconds())} ago)"
    resume = "--resume" if layout.job.is_file() else "Guard(..., resume=True)"
    checkpoints = any(layout.checkpoints.glob("step-*"))
    go_on = f"go on with {resume}" if checkpoints else "there is no checkpoint to go on from"
    return f"ended without a word{since}; {go_on}"
