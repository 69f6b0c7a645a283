"""The record of a worker that died or stood still: `incidents/process-0001/`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from supervisor.events.process_incident_file import ProcessIncident
from supervisor.process.exits import WorkerEnd

__all__ = ["write_process_incident"]


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
