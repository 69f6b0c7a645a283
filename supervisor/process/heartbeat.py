"""The worker's progress, in memory that the parent can see (no system call can block the loop), and its silence."""

from __future__ import annotations

import mmap
from pathlib import Path

from supervisor.clock import Clock, SystemClock
from supervisor.events.heartbeat_file import WORDS, Phase, Pulse, silence_allowed
from supervisor.policy import RestartSettings

__all__ = ["Heartbeat", "Phase", "Pulse", "StallWatch"]


class Heartbeat:
    """64-bit words in a file that both processes map: each is written in one store.

    Args:
        path: the file, `RUN_DIR/heartbeat/rank0`.
        create: make it anew, all zero but the time; the parent does before each start.
        clock: says when something was said.

    Raises:
        OSError: it cannot be made or mapped.
    """

    def __init__(self, path: Path, *, create: bool = False, clock: Clock | None = None) -> None:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(WORDS.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), WORDS.size)
        self._words = memoryview(self._map).cast("Q")
        self._clock = clock or SystemClock()
        if create:
            self._stamp()

    def beat(self, step: int, slowest_seconds: float) -> None:
        """Say that a step was done."""
        words = self._words
        words[1] = step
        words[2] = int(slowest_seconds * 1e6)
        words[3] = Phase.TRAINING
        self._stamp()
        words[0] = words[0] + 1

    def enter(self, phase: Phase) -> None:
        """Say what comes now; that is a sign of life too."""
        self._words[3] = phase
        self._stamp()
        self._words[0] = self._words[0] + 1

    def end(self, code: int) -> None:
        """Say that the run has ended, and the exit code that counts; what is said first stands."""
        if self._words[3] != Phase.ENDED:
            self._words[6] = code
            self.enter(Phase.ENDED)

    def read(self) -> Pulse:
        """The last thing the worker said."""
        return Pulse.from_words(self._words.tolist())

    def close(self) -> None:
        """Unmap the file."""
        self._words.release()
        self._map.close()

    def _stamp(self) -> None:
        self._words[4] = int(self._clock.monotonic() * 1e6)
        self._words[5] = int(self._clock.now().timestamp() * 1e6)


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
        """Seconds of silence once there have been more than `silence_allowed` says, else None."""
        if pulse.beats != self._beats:
            self._beats, self._changed_at = pulse.beats, now
        silence = now - self._changed_at
        settings = self._settings
        allowed = silence_allowed(pulse, settings.stall_timeout_seconds, settings.startup_timeout_seconds)
        return silence if silence > allowed else None

    def key(self, pulse: Pulse) -> str:
        """The key of the policy's `restart` that says how long a worker may be silent now."""
        settings = self._settings
        stall = pulse.stepping or settings.stall_timeout_seconds > settings.startup_timeout_seconds
        return "stall_timeout_seconds" if stall else "startup_timeout_seconds"
