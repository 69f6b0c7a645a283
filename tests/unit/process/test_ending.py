"""A run that is asked to stop by real signals, and what becomes of a worker and its group when the parent is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.runs import alive, until

from supervisor.process.ending import StopRequest, stopping_signals

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class Run:
    """Counts how often it is asked to end."""

    def __init__(self) -> None:
        self.asked = 0

    def request_stop(self) -> None:
        self.asked += 1


@pytest.fixture(autouse=True)
def _handlers_and_mask_as_before() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in NUMBERS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_reaches_the_run(number: signal.Signals) -> None:
    stop, run = StopRequest(), Run()
    stop.goes_to(run)
    assert run.asked == 0
    signal.raise_signal(number)
    assert run.asked == 1


def test_one_that_came_before_the_run_began_is_passed_on_when_it_does() -> None:
    stop, run = StopRequest(), Run()
    signal.raise_signal(signal.SIGTERM)
    stop.goes_to(run)
    assert run.asked == 1


def test_one_that_came_while_the_interpreter_started_is_not_lost() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    signal.raise_signal(signal.SIGTERM)
    stop, run = StopRequest(), Run()
    stop.goes_to(run)
    assert run.asked == 1
    assert not set(NUMBERS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_hangup_that_was_ignored_from_the_start_stays_ignored() -> None:
    """As under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert set(stopping_signals()) == {*NUMBERS} - {signal.SIGHUP}
    stop, run = StopRequest(), Run()
    stop.goes_to(run)
    signal.raise_signal(signal.SIGHUP)
    stop.stay()
    assert run.asked == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def exits(number: int, frame: object) -> None:
    raise SystemExit(0)


def fails(number: int, frame: object) -> None:
    raise RuntimeError


@pytest.mark.parametrize("then", [lambda number, frame: None, exits, fails, signal.default_int_handler])
def test_a_handler_of_the_trainers_is_called_and_the_run_ends_in_good_order_all_the_same(
    then: Callable[[int, Any], object],
) -> None:
    stop, run, heard = StopRequest(), Run(), []
    stop.goes_to(run)

    def theirs(number: int, frame: Any) -> None:
        heard.append((number, run.asked))
        then(number, frame)

    signal.signal(signal.SIGTERM, theirs)
    stop.stay()
    signal.raise_signal(signal.SIGTERM)
    # After ours, so that whatever it does comes too late to lose anything.
    assert heard == [(signal.SIGTERM, 1)]
    signal.raise_signal(signal.SIGTERM)
    assert heard == [(signal.SIGTERM, 1), (signal.SIGTERM, 2)]


def test_a_handler_that_calls_the_one_that_it_replaced() -> None:
    stop, run, heard = StopRequest(), Run(), []
    stop.goes_to(run)
    ours: Any = signal.getsignal(signal.SIGTERM)

    def theirs(number: int, frame: Any) -> None:
        heard.append(number)
        ours(number, frame)

    signal.signal(signal.SIGTERM, theirs)
    stop.stay()
    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("setting", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_trainer_that_takes_the_handler_away(setting: signal.Handlers) -> None:
    stop, run = StopRequest(), Run()
    stop.goes_to(run)
    signal.signal(signal.SIGTERM, setting)
    stop.stay()
    signal.raise_signal(signal.SIGTERM)
    assert run.asked == 1


PARENT = """
import os, subprocess, sys
from supervisor.process.ending import end_with_this_process, new_mark
mark = new_mark()
marked = {**os.environ, mark: "1"}
leader = subprocess.Popen(["sleep", "3600"], process_group=0, env=marked)
helper = subprocess.Popen(["sleep", "3600"], process_group=leader.pid)
apart = subprocess.Popen(["setsid", "sh", "-c", "sleep 3600 & sleep 3601"], env=marked)
stranger = subprocess.Popen(["sleep", "3600"], start_new_session=True)
watchman = end_with_this_process(leader.pid, mark)
print(leader.pid, helper.pid, apart.pid, watchman.pid, stranger.pid, flush=True)
sys.stdin.read()
"""

WORKER = """
import signal, sys
from supervisor.process.ending import end_with_parent, first_line, take_lifeline
lifeline = take_lifeline()
# Whoever reads the standard input, now or later, neither waits nor takes anything.
print(repr(sys.stdin.read()), repr(first_line(lifeline)), repr(sys.stdin.buffer.read()), flush=True)
end_with_parent(lifeline)
print("ready", flush=True)
signal.pause()
"""


def started(program: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0, env=environment
    )


def test_all_of_it_dies_with_the_parent_in_sessions_of_its_own_too_and_nobody_elses() -> None:
    with started(PARENT) as parent:
        assert parent.stdout is not None
        *group, stranger = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(alive(pid) for pid in group)
        children = Path(f"/proc/{group[2]}/task/{group[2]}/children")
        group += map(int, until(lambda: children.read_text().split()))
        parent.send_signal(signal.SIGKILL)
    try:
        until(lambda: not any(alive(pid) for pid in group))
        assert alive(stranger)
    finally:
        os.kill(stranger, signal.SIGKILL)


@pytest.mark.parametrize("said_before", ["", "more of the parent's\n"])
def test_a_worker_ends_when_its_lifeline_does_and_not_when_something_is_said_on_it(said_before: str) -> None:
    with started(WORKER) as worker:
        assert worker.stdout is not None
        assert worker.stdin is not None
        worker.stdin.write("what it is to do\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "'' b'what it is to do\\n' b''\n"
        assert worker.stdout.readline() == "ready\n"
        worker.stdin.write(said_before)
        worker.stdin.close()
        try:
            assert worker.wait(timeout=30) == -signal.SIGKILL
        finally:
            worker.kill()
