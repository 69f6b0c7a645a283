"""Why a worker is gone, and the record of it in a folder of its own."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.events.incident_file import ProcessIncident
from supervisor.events.schema import ExitClassification as Kind
from supervisor.process.exits import WorkerEnd, classify, oom_kills, write_process_incident
from supervisor.run_layout import INCIDENT_FILE, RunLayout


@pytest.mark.parametrize(
    ("returncode", "kind"),
    [(0, Kind.FINISHED), (2, Kind.BAD_INPUT), (3, Kind.HALTED), (75, Kind.INTERRUPTED)],
)
def test_its_own_verdict_is_believed_only_at_its_own_end(returncode: int, kind: Kind) -> None:
    assert classify(returncode, ended=True) is kind
    assert not WorkerEnd(returncode, kind).restartable
    # `os._exit(0)` somewhere in the trainer is no finished run.
    assert classify(returncode, ended=False) is Kind.EXCEPTION


@pytest.mark.parametrize("returncode", [1, 4, 9, 137, 255])
@pytest.mark.parametrize("ended", [False, True])
def test_any_other_code_is_a_crash(returncode: int, ended: bool) -> None:
    kind = classify(returncode, ended=ended)
    assert kind is Kind.EXCEPTION
    assert WorkerEnd(returncode, kind).restartable


def test_signals() -> None:
    assert classify(-signal.SIGSEGV, ended=False) is Kind.KILLED
    assert classify(-signal.SIGKILL, ended=False) is Kind.KILLED
    assert classify(-signal.SIGKILL, ended=False, oom_killed=True) is Kind.OUT_OF_MEMORY
    # The out-of-memory killer sends SIGKILL: another signal was not its.
    assert classify(-signal.SIGSEGV, ended=False, oom_killed=True) is Kind.KILLED


@pytest.mark.parametrize("returncode", [0, 1, -signal.SIGTERM, -signal.SIGKILL])
def test_a_stall_is_one_however_it_was_ended(returncode: int) -> None:
    assert classify(returncode, ended=False, stalled=True, oom_killed=True) is Kind.STALLED


def test_how_it_is_told() -> None:
    assert WorkerEnd(-signal.SIGKILL, Kind.KILLED).how == "SIGKILL"
    assert WorkerEnd(-63, Kind.KILLED).how == "signal 63"
    assert WorkerEnd(9, Kind.EXCEPTION).how == "exit code 9"
    assert WorkerEnd(9, Kind.EXCEPTION).signal is None


def test_no_out_of_memory_kill_since_just_now() -> None:
    assert oom_kills() == oom_kills() >= 0


@pytest.mark.parametrize(
    ("returncode", "ended", "expected"),
    [
        (0, True, Kind.FINISHED),
        (2, True, Kind.BAD_INPUT),
        (3, True, Kind.HALTED),
        (75, True, Kind.INTERRUPTED),
        (1, True, Kind.EXCEPTION),
        (0, False, Kind.EXCEPTION),
        (2, False, Kind.EXCEPTION),
        (3, False, Kind.EXCEPTION),
        (75, False, Kind.EXCEPTION),
        (-9, False, Kind.KILLED),
        (-9, True, Kind.KILLED),
        (-11, False, Kind.KILLED),
    ],
)
def test_only_an_exit_of_the_workers_own_is_a_good_one(returncode: int, ended: bool, expected: Kind) -> None:
    assert classify(returncode, ended=ended) is expected


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
