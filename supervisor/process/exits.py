"""Why a worker is gone."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import ExitCode
from supervisor.events.schema import ExitClassification

__all__ = ["OomKills", "WorkerEnd", "classify"]

_ORDERLY: dict[int, ExitClassification] = {
    ExitCode.FINISHED: ExitClassification.FINISHED,
    ExitCode.BAD_INPUT: ExitClassification.BAD_INPUT,
    ExitCode.HALTED: ExitClassification.HALTED,
    ExitCode.INTERRUPTED: ExitClassification.INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How one worker process ended.

    Attributes:
        returncode: as `wait` gives it: negative for a signal.
        classification: why.
        reason: more, where more is known.
    """

    returncode: int
    classification: ExitClassification
    reason: str | None = None

    @property
    def restartable(self) -> bool:
        """Whether it died rather than ended."""
        return self.classification not in _ORDERLY.values()

    @property
    def how(self) -> str:
        """`SIGKILL` or `exit code 1`."""
        return self.signal or f"exit code {self.returncode}"

    @property
    def signal(self) -> str | None:
        """Name of the signal that ended it."""
        if self.returncode >= 0:
            return None
        try:
            return signal.Signals(-self.returncode).name
        except ValueError:
            return f"signal {-self.returncode}"


def classify(returncode: int, *, ended: bool, stalled: bool = False, oom_killed: bool = False) -> ExitClassification:
    """Why a worker is gone.

    Args:
        returncode: as `wait` gives it.
        ended: the worker had come to its own end.
        stalled: the parent ended it, for it had stood still.
        oom_killed: the kernel's out-of-memory killer struck in its control group meanwhile.
    """
    if stalled:
        return ExitClassification.STALLED
    if returncode == -signal.SIGKILL and oom_killed:
        return ExitClassification.OUT_OF_MEMORY
    if returncode < 0:
        return ExitClassification.KILLED
    return _ORDERLY.get(returncode, ExitClassification.EXCEPTION) if ended else ExitClassification.EXCEPTION


class OomKills:
    """Counts the kernel's out-of-memory kills in this process's control group, where that can be known."""

    def __init__(self) -> None:
        self._before = _oom_kills()

    def any_since(self) -> bool:
        """Whether there was one since this object was made; False where nothing can be known."""
        now = _oom_kills()
        return now is not None and self._before is not None and now > self._before


def _oom_kills() -> int | None:
    for path in _event_files():
        try:
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
        except (OSError, ValueError):
            continue
    return None


def _event_files() -> list[Path]:
    root = Path("/sys/fs/cgroup")
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return []
    own = [root / path.lstrip("/") / "memory.events" for number, _, path in groups if number == "0"]
    older = [
        root / "memory" / path.lstrip("/") / "memory.oom_control"
        for _, controllers, path in groups
        if "memory" in controllers.split(",")
    ]
    return [*own, *older, root / "memory.events"]
