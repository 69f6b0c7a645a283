"""One worker from start to end: real processes with a small program in the worker's place."""

from __future__ import annotations

import fcntl
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import ExitCode
from supervisor.events import Event, EventLog
from supervisor.events.schema import (
    ExitClassification,
    WarningEvent,
    WorkerExitedEvent,
    WorkerStalledEvent,
    WorkerStartedEvent,
)
from supervisor.job import ResolvedJob
from supervisor.policy import RestartSettings
from supervisor.process import worker_process
from supervisor.process.exits import WorkerEnd
from supervisor.process.spec import WorkerSpec
from supervisor.process.stacks import STACK_SIGNAL
from supervisor.process.worker_process import WorkerProcess
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock

PREAMBLE = """
import json, os, signal, sys
from pathlib import Path
spec = json.loads(sys.stdin.readline())
folder = Path(spec["run_dir"]) / "heartbeat"
def say(word, value):
    with (folder / "rank0").open("r+b") as file:
        file.seek(8 * word)
        file.write(value.to_bytes(8, "little"))
def end(code):
    say(6, code)
    say(3, 3)
    sys.exit(code)
"""

Start = Callable[..., WorkerProcess]


@pytest.fixture
def spec(resolve: Callable[..., ResolvedJob]) -> WorkerSpec:
    return WorkerSpec.of(resolve(), run_id="abc", resume=False)


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def start(spec: WorkerSpec, heard: list[Event], monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a worker that does what a piece of Python says."""

    def start(
        program: str, clock: FakeClock | None = None, *, preamble: str = PREAMBLE, **settings: Any
    ) -> WorkerProcess:
        monkeypatch.setattr(worker_process, "COMMAND", (sys.executable, "-IS", "-c", preamble + program))
        log = EventLog(None, "abc", None, FakeClock(), listeners=[heard.append])
        return WorkerProcess(spec, RestartSettings(**settings), log, clock or FakeClock(), restarts=2)

    return start


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("end(0)", WorkerEnd(0, ExitClassification.FINISHED, code=ExitCode.FINISHED)),
        ("sys.exit(0)", WorkerEnd(0, ExitClassification.EXCEPTION)),
        ("end(3)", WorkerEnd(3, ExitClassification.HALTED, code=ExitCode.HALTED)),
        ("os._exit(9)", WorkerEnd(9, ExitClassification.EXCEPTION)),
        ("os.kill(os.getpid(), signal.SIGKILL)", WorkerEnd(-9, ExitClassification.KILLED)),
        (
            "(folder / 'rank0.error').write_text('ValueError: no\\n'); sys.exit(1)",
            WorkerEnd(1, ExitClassification.EXCEPTION, "ValueError: no"),
        ),
    ],
    ids=["finished", "not_its_own_end", "halted", "os_exit", "killed", "last_error"],
)
def test_its_end_is_told_and_put_on_record(start: Start, heard: list[Event], program: str, expected: WorkerEnd) -> None:
    worker = start(program)
    assert worker.wait() == expected
    began, exited = heard
    assert isinstance(began, WorkerStartedEvent)
    assert isinstance(exited, WorkerExitedEvent)
    assert (began.restarts, began.pid) == (2, exited.pid)
    assert exited.classification is expected.classification
    assert (exited.signal, exited.reason) == (expected.signal, expected.reason)
    assert exited.exit_code == (None if expected.returncode < 0 else expected.returncode)
    assert worker.stacks is None


LEFT_NOTES = """
from pathlib import Path
import os, struct, sys
path = folder / "rank0.reading"
slots = bytearray(path.read_bytes())
struct.pack_into("=q248s", slots, 0, os.getpid() if {own} else 0, b"5")
struct.pack_into("=q248s", slots, 256, 4242, b"17")
path.write_bytes(slots)
(folder / "rank0.error").write_text({reason!r})
{end}
"""


@pytest.mark.parametrize(
    ("own", "reason", "end", "expected"),
    [
        (True, "", "os._exit(1)", (5,)),
        (False, "", "os._exit(1)", ()),
        (False, "RuntimeError: DataLoader worker (pid(s) 4242) exited unexpectedly", "sys.exit(1)", (17,)),
        (False, 'File "/lib/multiprocessing/connection.py"\nConnectionResetError', "sys.exit(1)", (17,)),
        (False, "ValueError: no", "sys.exit(1)", ()),
        (True, "", "end(0)", ()),
    ],
    ids=["in the worker", "in none", "in a process of the loader", "in one that is not named", "raised", "finished"],
)
def test_the_rows_are_told_that_were_being_read_as_it_ended(
    start: Start, heard: list[Event], own: bool, reason: str, end: str, expected: tuple[int, ...]
) -> None:
    assert start(LEFT_NOTES.format(own=own, reason=reason, end=end)).wait().rows == expected
    exited = heard[-1]
    assert isinstance(exited, WorkerExitedEvent)
    assert exited.rows == (expected or None)


def test_it_is_handed_the_spec(start: Start, spec: WorkerSpec) -> None:
    start("(folder / 'got').write_text(json.dumps(spec)); end(0)").wait()
    got = (spec.layout.heartbeats / "got").read_text()
    assert WorkerSpec.from_line(got) == spec


def test_one_that_never_reads_its_spec_is_gone_like_any_other(start: Start) -> None:
    assert start("import os; os._exit(7)", preamble="").wait() == WorkerEnd(7, ExitClassification.EXCEPTION)


def test_what_an_earlier_worker_left_is_not_taken_for_its_own(start: Start, spec: WorkerSpec) -> None:
    spec.layout.heartbeats.mkdir(parents=True)
    spec.layout.heartbeat.write_bytes(b"\xff" * 56)
    spec.layout.last_error.write_text("an old error")
    spec.layout.stacks.write_text("old stacks")
    worker = start("sys.exit(1)")
    assert worker.wait() == WorkerEnd(1, ExitClassification.EXCEPTION)
    assert worker.stacks is None


def test_what_an_earlier_one_left_and_cannot_be_removed_is_told_and_not_taken_for_its_own(
    start: Start, spec: WorkerSpec, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec.layout.heartbeats.mkdir(parents=True)
    spec.layout.last_error.write_text("an old error")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    with monkeypatch.context() as stubborn:
        stubborn.setattr(Path, "unlink", refuse)
        worker = start("sys.exit(1)")
    assert worker.wait() == WorkerEnd(1, ExitClassification.EXCEPTION)
    told = [event.message for event in heard if isinstance(event, WarningEvent)]
    assert (
        told[-1]
        == f"{spec.layout.last_error} is of an earlier worker and could not be removed (Operation not permitted)"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_waits_until_it_can_be_taken(start: Start, number: signal.Signals) -> None:
    worker = start(f"signal.sigwait([{int(number)}]); end(75)")
    worker.stop(number)
    assert worker.wait() == WorkerEnd(75, ExitClassification.INTERRUPTED, code=ExitCode.INTERRUPTED)
    assert not {signal.SIGTERM, signal.SIGINT} & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_the_second_request_ends_it_at_once(start: Start) -> None:
    worker = start("signal.pause()")
    worker.stop(signal.SIGTERM)
    worker.stop(signal.SIGTERM)
    assert worker.wait() == WorkerEnd(
        -9, ExitClassification.KILLED, "ended at once, as was asked by a second request to stop"
    )
    worker.stop(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_what_a_batch_system_or_a_closed_terminal_sends_means_sigterm_however_often(
    start: Start, number: signal.Signals
) -> None:
    worker = start("signal.sigwait([signal.SIGTERM]); end(75)")
    for each in (number, number, signal.SIGTERM, number):
        worker.stop(each)
    assert worker.wait() == WorkerEnd(75, ExitClassification.INTERRUPTED, code=ExitCode.INTERRUPTED)


def test_what_it_started_does_not_outlive_it(start: Start, spec: WorkerSpec) -> None:
    """The helper holds a lock for as long as it lives."""
    program = """
import fcntl
held = (folder / "lock").open("w")
fcntl.flock(held, fcntl.LOCK_EX)
if os.fork() == 0:
    signal.pause()
end(0)
"""
    assert start(program).wait() == WorkerEnd(0, ExitClassification.FINISHED, code=ExitCode.FINISHED)
    with (spec.layout.heartbeats / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


class Silence(FakeClock):
    """A minute passes at each look, once a file says that the worker stands still.

    Args:
        ready: the file.
    """

    def __init__(self, ready: Path) -> None:
        super().__init__()
        self._ready = ready

    def monotonic(self) -> float:
        if self._ready.exists():
            self.advance(60)
        return super().monotonic()


STANDS_STILL = """
import faulthandler
def stands_still():
    (folder / "ready").touch()
    while True:
        signal.pause()
stacks = (folder / "rank0.stacks").open("a")
faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
say(2, 100)
say(3, 1)
stands_still()
""".replace("STACK_SIGNAL", str(int(STACK_SIGNAL)))


def test_one_that_stands_still_is_asked_where_and_ended(start: Start, spec: WorkerSpec, heard: list[Event]) -> None:
    clock = Silence(spec.layout.heartbeats / "ready")
    worker = start(STANDS_STILL, clock, stall_timeout_seconds=100)
    end = worker.wait()
    assert (end.returncode, end.classification) == (-signal.SIGTERM, ExitClassification.STALLED)
    assert end.reason is not None
    assert "raise restart.stall_timeout_seconds in the policy" in end.reason
    stalled = [event for event in heard if isinstance(event, WorkerStalledEvent)]
    assert [event.limit for event in stalled] == ["restart.stall_timeout_seconds"]
    assert 100 < stalled[0].seconds <= 180
    assert worker.stacks is not None
    assert "in stands_still" in worker.stacks
    assert RunLayout(Path(spec.run_dir)).stacks.read_text() == worker.stacks


def test_the_time_for_which_the_parent_was_stopped_is_no_stall(start: Start, spec: WorkerSpec) -> None:
    """As by Ctrl-Z, or by a batch system that suspends a job: neither of them has run meanwhile."""
    ready = spec.layout.heartbeats / "ready"

    class Stopped(FakeClock):
        """An hour passes at the first look at the worker at work, and then none."""

        passed = False

        def monotonic(self) -> float:
            if ready.exists() and not self.passed:
                self.passed = True
                self.advance(3600)
                worker.go_on()
                (spec.layout.heartbeats / "go").touch()
            return super().monotonic()

    program = "say(2, 100)\nsay(3, 1)\n(folder / 'ready').touch()\n"
    program += "while not (folder / 'go').exists(): pass\nend(0)"
    worker = start(program, Stopped(), stall_timeout_seconds=100)
    assert worker.wait() == WorkerEnd(0, ExitClassification.FINISHED, code=ExitCode.FINISHED)


CRASHES = """
import ctypes, faulthandler
faulthandler.enable((folder / "rank0.stacks").open("a"))
def crashing():
    ctypes.string_at(0)
crashing()
"""


def test_one_that_crashes_has_its_line_on_record(start: Start) -> None:
    end = start(CRASHES).wait()
    assert (end.returncode, end.classification) == (-signal.SIGSEGV, ExitClassification.KILLED)
    assert (end.reason or "").splitlines()[-1] == "Fatal Python error: Segmentation fault"
    assert "in crashing" in str(end.reason)


def test_one_that_is_killed_from_outside_has_not_though_a_process_of_its_loader_has_crashed(start: Start) -> None:
    program = (
        "import os, signal\n"
        + CRASHES.rpartition("crashing()")[0]
        + (
            "child = os.fork()\n"
            "if not child:\n    crashing()\n"
            "os.waitpid(child, 0)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
    )
    worker = start(program)
    end = worker.wait()
    assert (end.returncode, end.reason) == (-signal.SIGKILL, None)
    assert "Segmentation fault" in str(worker.stacks)
