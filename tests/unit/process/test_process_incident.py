"""The record of a worker that is gone, in a folder of its own."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

from supervisor.events.incident_file import ProcessIncident
from supervisor.events.schema import ExitClassification
from supervisor.process.exits import WorkerEnd
from supervisor.process.process_incident import write_process_incident
from supervisor.run_layout import INCIDENT_FILE, RunLayout

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KILLED = WorkerEnd(-signal.SIGKILL, ExitClassification.KILLED)
CRASHED = WorkerEnd(1, ExitClassification.EXCEPTION, "Traceback\nValueError: no")


def record(folder: Path | None) -> ProcessIncident:
    assert folder is not None
    return ProcessIncident.model_validate_json((folder / INCIDENT_FILE).read_bytes())


def test_it_says_why_the_worker_is_gone(tmp_path: Path) -> None:
    folder = write_process_incident(RunLayout(tmp_path), CRASHED, None, NOW)
    assert folder == tmp_path / "incidents" / "process-0001"
    assert record(folder) == ProcessIncident(
        time=NOW,
        classification=ExitClassification.EXCEPTION,
        exit_code=1,
        signal=None,
        reason="Traceback\nValueError: no",
        stacks=None,
    )
    assert [path.name for path in folder.iterdir()] == [INCIDENT_FILE]


def test_stacks_lie_beside_it(tmp_path: Path) -> None:
    folder = write_process_incident(RunLayout(tmp_path), KILLED, "in loss", NOW)
    found = record(folder)
    assert (found.signal, found.exit_code, found.stacks) == ("SIGKILL", None, "stacks.txt")
    assert folder is not None
    assert (folder / "stacks.txt").read_text() == "in loss"


def test_each_gets_the_number_after_the_highest(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    layout.incident(40).mkdir(parents=True)
    layout.process_incident(7).mkdir()
    assert write_process_incident(layout, KILLED, None, NOW) == layout.process_incident(8)
    assert write_process_incident(layout, KILLED, None, NOW) == layout.process_incident(9)


def test_a_disk_that_refuses_it_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert write_process_incident(RunLayout(tmp_path / "file"), KILLED, None, NOW) is None
