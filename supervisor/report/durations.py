"""Times as a person would say them, and the account of a run's time in one line."""

from __future__ import annotations

import math

from supervisor.events.time_account import TimeAccount

__all__ = ["duration", "told_account"]

# Seconds and name of a unit, and of the smaller one that its remainder is told in.
_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float) -> str:
    """Seconds as a person would say them: `48 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 60 or not math.isfinite(seconds):
        return f"{max(seconds, 0.0):.3g} s"
    total = round(seconds)
    size, name, smaller, smaller_name = next(units for units in _UNITS if total >= units[0])
    rest = total % size // smaller
    return f"{total // size} {name}" + (f" {rest} {smaller_name}" if rest else "")


def told_account(account: TimeAccount) -> str:
    """`46 s: training 67.1% (30.9 s), start-up 21.3% (9.8 s), ...`, the largest part first, without those of zero."""
    parts = sorted(account.parts.items(), key=lambda part: part[1], reverse=True)
    told = [
        f"{name.replace('_', '-')} {seconds / account.seconds:.1%} ({duration(seconds)})"
        for name, seconds in parts
        if seconds > 0
    ]
    paused = f"; beside it paused for {duration(account.paused)}" if account.paused >= 1 else ""
    return f"{duration(account.seconds)}: {', '.join(told)}{paused}"
