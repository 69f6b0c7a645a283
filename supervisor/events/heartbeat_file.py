"""What a worker has written into its heartbeat, for whoever wants to know whether it lives: its parent, or `status`."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["WORDS", "Phase", "Pulse", "read_pulse", "silence_allowed"]

WORDS = struct.Struct("=7Q")
"""Beats, step, slowest step in microseconds, phase, when by the monotonic clock and by the time of day, exit code."""

LINGER_SECONDS = 10.0
"""How long a process may take to be gone once its run has ended: threads that nobody joins, handlers at exit."""

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
        monotonic: when it said so, by the monotonic clock of its machine, in seconds.
        timestamp: the same by the time of day, in seconds since 1970.
        code: the exit code that it says counts, once its phase is `ENDED`.
    """

    beats: int
    step: int
    slowest_seconds: float
    phase: Phase
    monotonic: float = field(default=0.0, compare=False)
    timestamp: float = field(default=0.0, compare=False)
    code: int = 0

    @property
    def stepping(self) -> bool:
        """Whether a worker has done a step, and is at the next one."""
        return self.phase is Phase.TRAINING and self.slowest_seconds > 0

    @classmethod
    def from_words(cls, words: tuple[int, ...] | list[int]) -> Pulse:
        """The reading of the words in the file.

        Raises:
            ValueError: they are not what a worker writes.
        """
        beats, step, slowest, phase, monotonic, timestamp, code = words
        return cls(beats, step, slowest / 1e6, Phase(phase), monotonic / 1e6, timestamp / 1e6, code)


def read_pulse(path: Path) -> Pulse | None:
    """The last thing the worker said; None where no file tells."""
    try:
        return Pulse.from_words(WORDS.unpack(path.read_bytes()))
    except (OSError, ValueError, struct.error):
        return None


def silence_allowed(pulse: Pulse, stall_seconds: float, startup_seconds: float) -> float:
    """How many seconds a worker may be silent after this reading.

    Until its first step is done, in which a model may be compiled, and again while it evaluates, it has
    `startup_seconds` (or `stall_seconds`, if that is longer). A later step has `stall_seconds`, or 2.5 times the
    slowest one so far. Once the run has ended, its process has `LINGER_SECONDS` to be gone.
    """
    if pulse.phase is Phase.ENDED:
        return LINGER_SECONDS
    if pulse.stepping:
        return max(stall_seconds, SLOWEST_STEPS * pulse.slowest_seconds)
    return max(stall_seconds, startup_seconds)
