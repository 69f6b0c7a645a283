"""What a worker has written into its heartbeat, for whoever wants to know whether it lives: its parent, or `status`."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["WORDS", "Phase", "Pulse", "read_pulse", "silence_allowed"]

WORDS = struct.Struct("=6Q")
"""Beats, step, slowest step in microseconds, phase, and when: the monotonic clock and the time of day, likewise."""

SLOWEST_STEPS = 2.5
"""How many of its slowest steps a worker may be silent for."""


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
        monotonic: when it said so, by the monotonic clock of its machine, in seconds.
        timestamp: the same by the time of day, in seconds since 1970.
    """

    beats: int
    step: int
    slowest_seconds: float
    phase: Phase
    monotonic: float = field(default=0.0, compare=False)
    timestamp: float = field(default=0.0, compare=False)

    @classmethod
    def from_words(cls, words: tuple[int, ...] | list[int]) -> Pulse:
        """The reading of the words in the file.

        Raises:
            ValueError: they are not what a worker writes.
        """
        beats, step, slowest, phase, monotonic, timestamp = words
        return cls(beats, step, slowest / 1e6, Phase(phase), monotonic / 1e6, timestamp / 1e6)


def read_pulse(path: Path) -> Pulse | None:
    """The last thing the worker said; None where no file tells."""
    try:
        return Pulse.from_words(WORDS.unpack(path.read_bytes()))
    except (OSError, ValueError, struct.error):
        return None


def silence_allowed(pulse: Pulse, stall_seconds: float, startup_seconds: float) -> float:
    """How many seconds a worker may be silent after this reading.

    Until it begins its first step, and again while it evaluates, it has `startup_seconds` (or `stall_seconds`, if that
    is longer). A step has `stall_seconds`, or 2.5 times the slowest one so far.
    """
    if pulse.phase is Phase.TRAINING:
        return max(stall_seconds, SLOWEST_STEPS * pulse.slowest_seconds)
    return max(stall_seconds, startup_seconds)
