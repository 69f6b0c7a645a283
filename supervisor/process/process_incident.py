"""The record of a worker that died or stood still: `incidents/process-0001/`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from supervisor.events.numbers import UtcTime
from supervisor.events.schema import ExitClassification
from supervisor.process.exits import WorkerEnd

__all__ = ["ProcessIncident", "write_process_incident"]


class ProcessIncident(BaseModel):
    """`incident.json` of a process.

    Attributes:
        time: when the worker was found to be gone.
        classification: why it is gone.
        exit_code: what it exited with, None where a signal ended it.
        signal: the signal that ended it, else None.
        reason: its traceback, where it left one.
        stacks: name of the file beside it with every thread's stack, None where there is none.
    """

    model_config = ConfigDict(frozen=True)

    time: UtcTime
    classification: ExitClassification
    exit_code: int | None
    signal: str | None
    reason: str | None
    stacks: str | None


def write_process_incident(directory: Path, end: WorkerEnd, stacks: str | None, time: datetime) -> Path | None:
    """Write the record of one failure; None where the disk refuses it (the event log has the essence).

    Args:
        directory: `RUN_DIR/incidents`.
        end: how the worker ended.
        stacks: what its threads were at when it was found to stand still.
        time: now.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name[len("process-") :]) for path in directory.glob("process-[0-9]*")]
        folder = directory / f"process-{max(taken, default=0) + 1:04d}"
        folder.mkdir()
        if stacks is not None:
            (folder / "stacks.txt").write_text(stacks, encoding="utf-8")
        record = ProcessIncident(
            time=time,
            classification=end.classification,
            exit_code=None if end.returncode < 0 else end.returncode,
            signal=end.signal,
            reason=end.reason,
            stacks=None if stacks is None else "stacks.txt",
        )
        (folder / "incident.json").write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError:
        return None
    return folder
