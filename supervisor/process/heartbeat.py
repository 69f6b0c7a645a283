"""The worker's progress, in memory that the parent can see (no system call can block the loop), and its silence."""

from __future__ import annotations

import enum
import mmap
from dataclasses import dataclass
from pathlib import Path

from supervisor.policy import RestartSettings

__all__ = ["Heartbeat", "Phase", "Pulse", "StallWatch"]

_SIZE = 5 * 8


class Phase(enum.IntEnum):
    """What the worker is at."""

    STARTING = 0
    """Importing, building the trainer, restoring a checkpoint."""
    TRAINING = 1
    """Running steps."""
    FINISHING = 2
    """Evaluating."""
    ENDED = 3
    """The run has ended, and its exit code is said: what the process does or suffers from here on changes nothing. A
    trainer that calls `os._exit(0)` never gets here."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """One reading.

    Attributes:
        beats: steps this process has done; any change is a sign of life.
        step: schedule position of the last one.
        slowest_seconds: the longest time between two beats so far.
        phase: what the worker is at.
        code: the exit code that it says counts, once its phase is `ENDED`.
    """

    beats: int
    step: int
    slowest_seconds: float
    phase: Phase
    code: int = 0


class Heartbeat:
    """Five 64-bit words in a file that both processes map: each is written in one store.

    Args:
        path: the file, `RUN_DIR/heartbeat/rank0`.
        create: make it anew, all zero; the parent does before each start.

    Raises:
        OSError: it cannot be made or mapped.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._words = memoryview(self._map).cast("Q")

    def beat(self, step: int, slowest_seconds: float) -> None:
        """Say that a step was done."""
        words = self._words
        words[1] = step
        words[2] = int(slowest_seconds * 1e6)
        words[3] = Phase.TRAINING
        words[0] = words[0] + 1

    def enter(self, phase: Phase) -> None:
        """Say what comes now; that is a sign of life too."""
        self._words[3] = phase
        self._words[0] = self._words[0] + 1

    def end(self, code: int) -> None:
        """Say that the run has ended, and the exit code that counts; what is said first stands."""
        if self._words[3] != Phase.ENDED:
            self._words[4] = code
            self.enter(Phase.ENDED)

    def read(self) -> Pulse:
        """The last thing the worker said."""
        beats, step, microseconds, phase, code = self._words.tolist()
        return Pulse(beats, step, microseconds / 1e6, Phase(phase), code)

    def close(self) -> None:
        """Unmap the file."""
        self._words.release()
        self._map.close()


LINGER_SECONDS = 10.0
"""How long a process may take to be gone once its run has ended: threads that nobody joins, handlers at exit."""

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

        Until its first step is done, in which a model may be compiled, and again while it evaluates, a worker has
        `startup_timeout_seconds` (or the stall timeout, if that is longer). A later step has `stall_timeout_seconds`,
        or 2.5 times the slowest one so far. Once the run has ended, its process has `LINGER_SECONDS` to be gone.
        """
        if pulse.beats != self._beats:
            self._beats, self._changed_at = pulse.beats, now
        silence = now - self._changed_at
        return silence if silence > self._limit(pulse) else None

    def key(self, pulse: Pulse) -> str:
        """The key of the policy's `restart` that says how long a worker may be silent now."""
        return "stall_timeout_seconds" if _steps(pulse) else "startup_timeout_seconds"

    def _limit(self, pulse: Pulse) -> float:
        stall = self._settings.stall_timeout_seconds
        if pulse.phase is Phase.ENDED:
            return LINGER_SECONDS
        if _steps(pulse):
            return max(stall, SLOWEST_STEPS * pulse.slowest_seconds)
        return max(stall, self._settings.startup_timeout_seconds)


def _steps(pulse: Pulse) -> bool:
    """Whether a worker has done a step, and is at the next one."""
    return pulse.phase is Phase.TRAINING and pulse.slowest_seconds > 0
