"""When a worker counts as stalled."""

from __future__ import annotations

from supervisor.policy import RestartSettings
from supervisor.process.heartbeat import Phase, Pulse

__all__ = ["StallWatch"]

SLOWEST_STEPS = 2.5
"""How many of its slowest steps a worker may be silent for."""


class StallWatch:
    """Judges the readings of a heartbeat.

    Args:
        settings: the timeouts.
        now: monotonic seconds at the worker's start.
    """

    def __init__(self, settings: RestartSettings, now: float) -> None:
        self._settings = settings
        self._beats = 0
        self._changed_at = now

    def silent_for(self, pulse: Pulse, now: float) -> float | None:
        """Seconds of silence once there have been too many, else None.

        Until it begins its first step, and again while it evaluates, a worker has `startup_timeout_seconds` (or the
        stall timeout, if that is longer). A step has `stall_timeout_seconds`, or 2.5 times the slowest one so far.
        """
        if pulse.beats != self._beats:
            self._beats, self._changed_at = pulse.beats, now
        silence = now - self._changed_at
        return silence if silence > self._limit(pulse) else None

    def _limit(self, pulse: Pulse) -> float:
        stall = self._settings.stall_timeout_seconds
        if pulse.phase is Phase.TRAINING:
            return max(stall, SLOWEST_STEPS * pulse.slowest_seconds)
        return max(stall, self._settings.startup_timeout_seconds)
