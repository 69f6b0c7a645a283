"""Why a worker is gone, and the record of it in a folder of its own."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.errors import ExitCode
from supervisor.events.incident_file import ProcessIncident
from supervisor.events.schema import ExitClassification as Kind
from supervisor.process.exits import (
    WorkerEnd,
    classify,
    crashed,
    dead_loader_processes,
    oom_kills,
    write_process_incident,
)
from supervisor.run_layout import INCIDENT_FILE, RunLayout


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ExitCode.FINISHED, Kind.FINISHED),
        (ExitCode.BAD_INPUT, Kind.BAD_INPUT),
        (ExitCode.HALTED, Kind.HALTED),
        (ExitCode.INTERRUPTED, Kind.INTERRUPTED),
        (ExitCode.UNSAVED, Kind.UNSAVED),
    ],
)
@pytest.mark.parametrize("returncode", [0, 1, -signal.SIGSEGV, -signal.SIGKILL])
def test_once_the_run_has_ended_nothing_that_its_process_does_changes_that(
    returncode: int, code: ExitCode, kind: Kind
) -> None:
    assert classify(returncode, ended=code, oom_killed=True) is kind
    assert not WorkerEnd(returncode, kind, code=code).restartable


@pytest.mark.parametrize(
    ("returncode", "own"),
    [(-signal.SIGSEGV, True), (-signal.SIGABRT, True), (-signal.SIGKILL, False), (-signal.SIGTERM, False), (3, False)],
)
def test_a_crash_is_told_from_what_comes_from_outside(returncode: int, own: bool) -> None:
    assert crashed(returncode) is own


@pytest.mark.parametrize("returncode", [0, 1, 2, 3, 4, 5, 9, 75, 137, 255])
def test_any_exit_before_that_is_a_crash(returncode: int) -> None:
    """`os._exit(0)` somewhere in the trainer is no finished run."""
    kind = classify(returncode)
    assert kind is Kind.EXCEPTION
    assert WorkerEnd(returncode, kind).restartable


def test_signals() -> None:
    assert classify(-signal.SIGSEGV) is Kind.KILLED
    assert classify(-signal.SIGKILL) is Kind.KILLED
    assert classify(-signal.SIGKILL, oom_killed=True) is Kind.OUT_OF_MEMORY
    # The out-of-memory killer sends SIGKILL: another signal was not its.
    assert classify(-signal.SIGSEGV, oom_killed=True) is Kind.KILLED


@pytest.mark.parametrize("returncode", [0, 1, -signal.SIGTERM, -signal.SIGKILL])
def test_a_stall_is_one_however_it_was_ended(returncode: int) -> None:
    assert classify(returncode, stalled=True, oom_killed=True) is Kind.STALLED


def test_how_it_is_told() -> None:
    assert WorkerEnd(-signal.SIGKILL, Kind.KILLED).how == "SIGKILL"
    assert WorkerEnd(-63, Kind.KILLED).how == "signal 63"
    assert WorkerEnd(9, Kind.EXCEPTION).how == "exit code 9"
    assert WorkerEnd(9, Kind.EXCEPTION).signal is None


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("RuntimeError: DataLoader worker (pid(s) 12, 345) exited unexpectedly", [12, 345]),
        ("RuntimeError: DataLoader worker (pid 12) is killed by signal: Segmentation fault. ", [12]),
        ("ValueError: no", []),
        (None, []),
    ],
)
def test_the_processes_of_a_loader_that_a_traceback_tells_of(reason: str | None, expected: list[int]) -> None:
    assert dead_loader_processes(reason) == expected


def test_no_out_of_memory_kill_since_just_now() -> None:
    assert oom_kills() == oom_kills() >= 0


NOW = datetime(2026, 1, 1, tzinfo=UTC)
KILLED = WorkerEnd(-signal.SIGKILL, Kind.KILLED)
CRASHED = WorkerEnd(1, Kind.EXCEPTION, "Traceback\nValueError: no")


def record(folder: Path | None) -> ProcessIncident:
    assert folder is not None
    return ProcessIncident.model_validate_json((folder / INCIDENT_FILE).read_bytes())


def test_it_says_why_the_worker_is_gone(tmp_path: Path) -> None:
    folder = write_process_incident(RunLayout(tmp_path), CRASHED, None, NOW)
    assert folder == tmp_path / "incidents" / "process-0001"
    assert record(folder) == ProcessIncident(
        time=NOW,
        classification=Kind.EXCEPTION,
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
