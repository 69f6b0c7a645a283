"""The worker's progress, in memory shared with the parent: the training loop makes no system call for it."""

from __future__ import annotations

import enum
import mmap
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Heartbeat", "Phase", "Pulse"]

_WORD = 8
_FIELDS = 4
_SIZE = _WORD * _FIELDS


class Phase(enum.IntEnum):
    """What the worker is at."""

    STARTING = 0
    """Importing, building the trainer, restoring a checkpoint; until its first step begins."""
    TRAINING = 1
    """Running steps."""
    FINISHING = 2
    """Evaluating."""
    ENDED = 3
    """It has ended by itself, so its exit code counts. A trainer that calls `os._exit(0)` never gets here."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """One reading.

    Attributes:
        beats: steps this process has done; any change is a sign of life.
        step: schedule position of the last one.
        slowest_seconds: the longest time between two beats so far.
        phase: what the worker is at.
    """

    beats: int
    step: int
    slowest_seconds: float
    phase: Phase


class Heartbeat:
    """Four 64-bit words in a file that both processes map: each is written in one store.

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

    def read(self) -> Pulse:
        """The last thing the worker said."""
        beats, step, microseconds, phase = self._words.tolist()
        return Pulse(beats, step, microseconds / 1e6, Phase(phase))

    def close(self) -> None:
        """Unmap the file."""
        self._words.release()
        self._map.close()
