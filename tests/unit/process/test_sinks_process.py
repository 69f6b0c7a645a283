"""The process of the sinks as the parent has it: what is put on record, and that it always ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.runs import alive, until
from support.web_server import web_server
from support.written_run import WrittenRun

from supervisor.events.writer import EventLog
from supervisor.job import Sinks
from supervisor.process import sinks_process
from supervisor.process.leftovers import Leftovers
from supervisor.process.sinks_process import sinks_beside
from supervisor.process.sinks_spec import SinksSpec
from supervisor.testing.events import EventList

PATIENCE_SECONDS = 120


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    found = WrittenRun(tmp_path)
    found.start()
    return found


@pytest.fixture
def heard() -> EventList:
    return EventList()


@pytest.fixture
def log(heard: EventList) -> EventLog:
    return EventLog(None, "abc123", None, listeners=[heard])


def spec(run: WrittenRun, url: str | None = None, **sinks: Any) -> SinksSpec:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    return SinksSpec(sinks=Sinks.model_validate(sinks), url=url, run_dir=run.layout.root, since=since)


def sinks_there() -> list[int]:
    """The processes of sinks that this one has."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            children = (task / "children").read_text().split()
            found += [int(each) for each in children if b"sinks_entry" in Path(f"/proc/{each}/cmdline").read_bytes()]
    return found


def told(run: WrittenRun) -> int:
    """How many lines its table of steps has."""
    path = run.layout.sinks / "csv" / "steps.csv"
    return path.read_text().count("\n") if path.exists() else 0


def test_without_a_sink_no_process_is_started(run: WrittenRun, heard: EventList, log: EventLog) -> None:
    with sinks_beside(None, "abc123", log):
        assert sinks_there() == []
    assert heard == []
    assert not run.layout.sinks.exists()


def test_it_lasts_as_long_as_the_block_and_has_all_told_by_then(
    run: WrittenRun, heard: EventList, log: EventLog
) -> None:
    with sinks_beside(spec(run, csv=None, flush_seconds=PATIENCE_SECONDS), "abc123", log):
        (process,) = until(sinks_there)
        run.steps(0, 1)
    assert not alive(process)
    assert (run.layout.sinks / "csv" / "steps.csv").read_text().count("\n") == 3
    assert heard == []


def test_an_address_and_a_failure_are_put_on_record(run: WrittenRun, heard: EventList, log: EventLog) -> None:
    run.layout.sinks.mkdir()
    (run.layout.sinks / "csv").write_text("in the way")
    with sinks_beside(spec(run, csv=None, prometheus={"port": 0}), "abc123", log):
        until(lambda: len(heard) == 2, seconds=PATIENCE_SECONDS)
    (ready,), (failed,) = heard.named("sink_ready"), heard.named("sink_failed")
    assert (ready.sink, ready.address.startswith("http://127.0.0.1:")) == ("prometheus", True)
    assert (failed.sink, "File exists" in failed.error) == ("csv", True)


def test_one_that_hangs_is_ended_when_its_time_is_up_and_what_it_was_not_told_is_counted(
    run: WrittenRun, heard: EventList, log: EventLog
) -> None:
    run.incident(1, 3)
    run.incident(2, 4)
    come, go_on = threading.Event(), threading.Event()
    with web_server() as server:
        server.before = lambda: (come.set(), go_on.wait(PATIENCE_SECONDS))
        chosen = spec(run, server.url, webhook={"url_file": "-"}, flush_seconds=0.2)
        with sinks_beside(chosen, "abc123", log):
            (process,) = until(sinks_there)
            assert come.wait(PATIENCE_SECONDS)
        assert not alive(process)
        go_on.set()
    (failed,) = heard.named("sink_failed")
    # The incident's other lines, and the second one.
    assert failed.error == "9 lines of the log were not told within flush_seconds; a resume goes on from there"


def test_one_that_hangs_is_ended_at_once_where_nobody_wants_to_wait_for_it(
    run: WrittenRun, heard: EventList, log: EventLog
) -> None:
    run.incident(1, 3)
    come, go_on = threading.Event(), threading.Event()
    asked: list[bool] = []
    with web_server() as server:
        server.before = lambda: (come.set(), go_on.wait(PATIENCE_SECONDS))
        chosen = spec(run, server.url, webhook={"url_file": "-"}, flush_seconds=100 * PATIENCE_SECONDS)
        # The second time that it is asked.
        with sinks_beside(chosen, "abc123", log, lambda: len(asked) > 1 or bool(asked.append(True))):
            (process,) = until(sinks_there)
            assert come.wait(PATIENCE_SECONDS)
        assert not alive(process)
        go_on.set()
    (failed,) = heard.named("sink_failed")
    assert failed.error == "the process of the sinks was ended at once, as was asked; a resume goes on from there"


def test_one_that_is_killed_is_put_on_record_once(run: WrittenRun, heard: EventList, log: EventLog) -> None:
    with sinks_beside(spec(run, csv=None), "abc123", log):
        (process,) = until(sinks_there)
        os.kill(process, signal.SIGKILL)
        until(lambda: heard, seconds=PATIENCE_SECONDS)
    (failed,) = heard
    assert (failed.sink, failed.error) == (
        "all",
        "the process of the sinks has ended by SIGKILL; it is started again in 1 s, else a resume starts it again "
        "(sinks/output.txt)",
    )


def test_one_that_is_killed_is_started_again_but_not_for_ever(
    run: WrittenRun, heard: EventList, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_process, "RESTART_SECONDS", (0.0, 0.0))
    killed: list[int] = []
    # A worker that runs meanwhile, and ends.
    leftovers = Leftovers()
    with sinks_beside(spec(run, csv=None, flush_seconds=PATIENCE_SECONDS), "abc123", log):
        for step in range(3):
            (process,) = until(lambda: [each for each in sinks_there() if each not in killed], seconds=PATIENCE_SECONDS)
            run.steps(step)
            until(lambda rows=step + 2: told(run) == rows, seconds=PATIENCE_SECONDS)
            assert leftovers.end(()) == []
            killed.append(process)
            os.kill(process, signal.SIGKILL)
            until(lambda deaths=step + 1: len(heard) == deaths, seconds=PATIENCE_SECONDS)
        assert not any(map(alive, killed))
    again = [each.error.partition("; ")[2].partition(" a resume")[0] for each in heard]
    assert again[:2] == ["it is started again in 0 s, else"] * 2
    assert (
        heard[2].error == "the process of the sinks has ended by SIGKILL; a resume starts it again (sinks/output.txt)"
    )


def test_one_that_is_killed_shortly_before_the_end_is_started_again_for_what_was_not_told(
    run: WrittenRun, heard: EventList, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_process, "RESTART_SECONDS", (100.0 * PATIENCE_SECONDS,))
    with sinks_beside(spec(run, csv=None, flush_seconds=PATIENCE_SECONDS), "abc123", log):
        (process,) = until(sinks_there)
        os.kill(process, signal.SIGKILL)
        until(lambda: heard, seconds=PATIENCE_SECONDS)
        run.steps(0, 1)
    assert told(run) == 3
    assert len(heard) == 1
    assert sinks_there() == []


def test_what_cannot_be_started_again_is_put_on_record(
    run: WrittenRun, heard: EventList, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_process, "RESTART_SECONDS", (0.0,))
    with sinks_beside(spec(run, csv=None), "abc123", log):
        (process,) = until(sinks_there)
        monkeypatch.setattr(sinks_process, "COMMAND", (str(run.layout.root / "no-such-program"),))
        os.kill(process, signal.SIGKILL)
        until(lambda: len(heard) == 2, seconds=PATIENCE_SECONDS)
    assert heard[1].error.startswith("the process of the sinks could not be started (")
    assert len(heard) == 2


def test_what_cannot_be_started_is_put_on_record(
    run: WrittenRun, heard: EventList, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_process, "COMMAND", (str(run.layout.root / "no-such-program"),))
    with sinks_beside(spec(run, csv=None), "abc123", log):
        assert sinks_there() == []
    (failed,) = heard
    assert failed.error.startswith("the process of the sinks could not be started (")
