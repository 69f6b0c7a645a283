"""A run that is asked to stop by real signals, and what becomes of a worker and its group when the parent is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from support.runs import alive, until

from supervisor.process.ending import StopRequest, end_group_with_parent

NUMBERS = (signal.SIGTERM, signal.SIGINT)


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


PARENT = """
import subprocess, sys
from supervisor.process.ending import end_group_with_parent
leader = subprocess.Popen(["sleep", "3600"], process_group=0)
helper = subprocess.Popen(["sleep", "3600"], process_group=leader.pid)
watchman = end_group_with_parent(leader.pid)
print(leader.pid, helper.pid, watchman.pid, flush=True)
sys.stdin.read()
"""

WORKER = """
import signal, sys
from supervisor.process.ending import end_with_parent
end_with_parent(sys.stdin.fileno())
print("ready", flush=True)
signal.pause()
"""


def started(program: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0, env=environment
    )


def test_all_of_it_dies_with_the_parent() -> None:
    with started(PARENT) as parent:
        assert parent.stdout is not None
        group = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(alive(pid) for pid in group)
        parent.send_signal(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in group))


@pytest.mark.parametrize("said_before", ["", "more of the parent's\n"])
def test_a_worker_ends_when_its_lifeline_does_and_not_when_something_is_said_on_it(said_before: str) -> None:
    with started(WORKER) as worker:
        assert worker.stdout is not None
        assert worker.stdin is not None
        assert worker.stdout.readline() == "ready\n"
        worker.stdin.write(said_before)
        worker.stdin.close()
        try:
            assert worker.wait(timeout=30) == -signal.SIGKILL
        finally:
            worker.kill()


def test_a_group_that_is_gone_already() -> None:
    gone = subprocess.Popen(["true"], process_group=0)
    gone.wait()
    assert end_group_with_parent(gone.pid) is None
