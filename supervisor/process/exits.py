"""Why a worker is gone, and the record of it: `incidents/process-0001/`."""

from __future__ import annotations

import contextlib
import re
import signal
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from supervisor.errors import ExitCode
from supervisor.events.incident_file import ProcessIncident
from supervisor.events.schema import ExitClassification
from supervisor.process.heartbeat import Phase, Pulse
from supervisor.run_layout import INCIDENT_FILE, RunLayout, replace_file

__all__ = ["WorkerEnd", "classify", "crashed", "dead_loader_processes", "oom_kills", "write_process_incident"]

_DEAD_LOADER = re.compile(r"DataLoader worker \(pid(?:\(s\))? (\d+(?:, \d+)*)\)")

_ORDERLY: dict[int, ExitClassification] = {
    ExitCode.FINISHED: ExitClassification.FINISHED,
    ExitCode.BAD_INPUT: ExitClassification.BAD_INPUT,
    ExitCode.HALTED: ExitClassification.HALTED,
    ExitCode.INTERRUPTED: ExitClassification.INTERRUPTED,
    ExitCode.UNSAVED: ExitClassification.UNSAVED,
}


_CRASHES = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP}
)


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How one worker process ended.

    Attributes:
        returncode: as `wait` gives it: negative for a signal.
        classification: why.
        reason: more, where more is known.
        code: the exit code that the run ended with, None where the process died before its run had ended.
        pulse: the last thing that its heartbeat said.
        rows: of the data set, of which one was being read when it, or a process of its loader, ended.
    """

    returncode: int
    classification: ExitClassification
    reason: str | None = None
    code: ExitCode | None = None
    pulse: Pulse | None = field(default=None, compare=False)
    rows: tuple[int | str, ...] = ()

    @property
    def restartable(self) -> bool:
        """Whether it died rather than ended."""
        return self.code is None

    @property
    def evaluating(self) -> bool:
        """Whether it was calling the trainer's evaluation."""
        return self.pulse is not None and self.pulse.phase is Phase.FINISHING

    @property
    def how(self) -> str:
        """`SIGKILL` or `exit code 1`."""
        return self.signal or f"exit code {self.returncode}"

    @property
    def exit_code(self) -> int | None:
        """What it exited with, None where a signal ended it."""
        return None if self.returncode < 0 else self.returncode

    @property
    def signal(self) -> str | None:
        """Name of the signal that ended it."""
        if self.returncode >= 0:
            return None
        try:
            return signal.Signals(-self.returncode).name
        except ValueError:
            return f"signal {-self.returncode}"


def classify(
    returncode: int, *, ended: ExitCode | None = None, stalled: bool = False, oom_killed: bool = False
) -> ExitClassification:
    """Why a worker is gone.

    Args:
        returncode: as `wait` gives it.
        ended: the code that its run had ended with before, whatever became of the process then; None: it had not.
        stalled: the parent ended it, for it had stood still.
        oom_killed: the kernel's out-of-memory killer struck in its control group meanwhile.
    """
    if ended is not None:
        return _ORDERLY[ended]
    if stalled:
        return ExitClassification.STALLED
    if returncode == -signal.SIGKILL and oom_killed:
        return ExitClassification.OUT_OF_MEMORY
    if returncode < 0:
        return ExitClassification.KILLED
    return ExitClassification.EXCEPTION


def crashed(returncode: int) -> bool:
    """Whether a process has brought its end upon itself, by a signal as that of a segmentation fault."""
    return -returncode in _CRASHES


def dead_loader_processes(reason: str | None) -> list[int]:
    """The processes of a loader whose death a worker's traceback tells of."""
    return [int(pid) for pids in _DEAD_LOADER.findall(reason or "") for pid in pids.split(", ")]


def oom_kills() -> int:
    """The kernel's out-of-memory kills in this process's control group so far; 0 where that cannot be known."""
    for path in _event_files():
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0


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


def write_process_incident(
    layout: RunLayout, end: WorkerEnd, stacks: str | None, time: datetime, *, life: int | None = None
) -> Path | None:
    """Write the record of one failure; None where the disk refuses it (the event log has the essence).

    Args:
        layout: of the run directory.
        end: how the worker ended.
        stacks: what its threads were at when it was found to stand still, or crashed.
        time: now.
        life: which worker of the run it was, from 1.
    """
    try:
        folder = layout.process_incident(max(layout.process_incident_numbers(), default=0) + 1)
        folder.mkdir(parents=True)
        if stacks is not None:
            (folder / "stacks.txt").write_text(stacks, encoding="utf-8")
        record = ProcessIncident(
            time=time,
            classification=end.classification,
            exit_code=end.exit_code,
            signal=end.signal,
            reason=end.reason,
            stacks=None if stacks is None else "stacks.txt",
            life=life,
            rows=end.rows,
        )
        replace_file(folder / INCIDENT_FILE, record.model_dump_json(indent=2) + "\n")
    except OSError:
        return None
    return folder
