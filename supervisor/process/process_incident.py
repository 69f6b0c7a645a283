"""The record of a worker that died or stood still: `incidents/process-0001/`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from supervisor.events.incident_file import ProcessIncident
from supervisor.process.exits import WorkerEnd
from supervisor.run_layout import INCIDENT_FILE, RunLayout, replace_file

__all__ = ["write_process_incident"]


def write_process_incident(layout: RunLayout, end: WorkerEnd, stacks: str | None, time: datetime) -> Path | None:
    """Write the record of one failure; None where the disk refuses it (the event log has the essence).

    Args:
        layout: of the run directory.
        end: how the worker ended.
        stacks: what its threads were at when it was found to stand still.
        time: now.
    """
    try:
        folder = layout.process_incident(max(layout.process_incident_numbers(), default=0) + 1)
        folder.mkdir(parents=True)
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
        replace_file(folder / INCIDENT_FILE, record.model_dump_json(indent=2) + "\n")
    except OSError:
        return None
    return folder
