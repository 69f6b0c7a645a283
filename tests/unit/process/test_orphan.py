"""What is left of a group whose parent is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from support.runs import alive, until

PARENT = """
import subprocess, sys
from supervisor.process.orphan import end_group_with_parent
leader = subprocess.Popen(["sleep", "3600"], process_group=0)
helper = subprocess.Popen(["sleep", "3600"], process_group=leader.pid)
watchman = end_group_with_parent(leader.pid)
print(leader.pid, helper.pid, watchman.pid, flush=True)
sys.stdin.read()
"""


def test_all_of_it_dies_with_the_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        group = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(alive(pid) for pid in group)
        parent.send_signal(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in group))


def test_a_group_that_is_gone_already(tmp_path: Path) -> None:
    from supervisor.process.orphan import end_group_with_parent

    gone = subprocess.Popen(["true"], process_group=0)
    gone.wait()
    assert end_group_with_parent(gone.pid) is None
