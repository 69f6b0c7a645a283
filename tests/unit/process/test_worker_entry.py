"""Where a worker begins, in a process of its own: it is believed, leaves its last error, and ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from supervisor.job import ResolvedJob
from supervisor.process import worker_entry
from supervisor.process.heartbeat import Heartbeat, Phase
from supervisor.process.spec import WorkerSpec

Resolve = Callable[..., ResolvedJob]


@contextmanager
def worker(resolved: ResolvedJob) -> Iterator[tuple[subprocess.Popen[str], WorkerSpec, Heartbeat]]:
    """A worker in a group of its own (it kills its group when its lifeline ends), with its heartbeat."""
    spec = WorkerSpec.of(resolved, run_id="abc", resume=False)
    heartbeat = Heartbeat(spec.layout.heartbeat, create=True)
    process = subprocess.Popen(
        [sys.executable, "-m", worker_entry.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(spec.model_dump_json() + "\n")
        process.stdin.flush()
        try:
            yield process, spec, heartbeat
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def told(process: subprocess.Popen[str]) -> str:
    """What it said on stderr until its end."""
    assert process.stderr is not None
    return process.stderr.read()


def test_a_mistake_of_the_users_is_its_own_verdict(resolve: Resolve) -> None:
    with worker(resolve(trainer="mine:Tinny")) as (process, spec, heartbeat):
        said = told(process)
        assert process.wait() == 2
        assert "trainer: mine has no Tinny" in said
        assert "Traceback" not in said
        assert heartbeat.read().phase is Phase.ENDED
        # For the record of its end.
        assert "mine has no Tinny" in spec.layout.last_error.read_text()


def test_an_exception_leaves_its_traceback_and_no_verdict(resolve: Resolve) -> None:
    with worker(resolve(config={"fault": "crash_in_init"})) as (process, spec, heartbeat):
        said = told(process)
        assert process.wait() == 1
        assert spec.layout.last_error.read_text().endswith("RuntimeError: no such luck\n")
        assert said.endswith(spec.layout.last_error.read_text())
        assert heartbeat.read().phase is not Phase.ENDED


BLOCKED = """
import os

class Trainer:
    @classmethod
    def from_config(cls, config, *, seed):
        os.write(1, b"blocked\\n")
        os.read(os.pipe()[0], 1)
"""


def test_it_ends_with_its_lifeline_whatever_it_is_at(resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "blocked.py").write_text(BLOCKED)
    with worker(resolve(trainer="blocked:Trainer")) as (process, spec, _):
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "blocked\n"
        # Every thread says where it stands when it is asked to.
        assert spec.layout.stacks.read_text() == ""
        process.stdin.close()
        assert process.wait(timeout=30) == -signal.SIGKILL
