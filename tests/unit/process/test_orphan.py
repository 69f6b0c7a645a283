"""What becomes of a worker and its group when the parent is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from support.runs import alive, until

from supervisor.process.orphan import end_group_with_parent

PARENT = """
import subprocess, sys
from supervisor.process.orphan import end_group_with_parent
leader = subprocess.Popen(["sleep", "3600"], process_group=0)
helper = subprocess.Popen(["sleep", "3600"], process_group=leader.pid)
watchman = end_group_with_parent(leader.pid)
print(leader.pid, helper.pid, watchman.pid, flush=True)
sys.stdin.read()
"""

WORKER = """
import signal, sys
from supervisor.process.orphan import end_with_parent
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
