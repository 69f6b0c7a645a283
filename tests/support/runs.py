"""Runs of the real command line that are killed, watched and compared bit for bit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from supervisor.events import read_events
from supervisor.process.heartbeat import Heartbeat
from support.command import PATIENCE_SECONDS, read_lines, start, write_job
from support.exact import assert_same

__all__ = [
    "BUT",
    "STEADY",
    "alive",
    "assert_same_end",
    "checkpoints",
    "end_of",
    "exits",
    "gate_at",
    "kill_workers",
    "life",
    "made_once",
    "named",
    "open_gate",
    "running",
    "steady_job",
    "until",
    "worker_pids",
]

STEADY = "steady:Steady"


def until(condition: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS, every: float = 0.005) -> Any:
    """What `condition` gives once it is true; the one place where tests wait.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(every)
    raise TimeoutError(f"not within {seconds} s")


def steady_job(folder: Path, **values: Any) -> Path:
    """A folder with the steady trainer and a job for it: a checkpoint every 10 steps, restarts at once."""
    folder.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("steady.py"), folder)
    policy = {
        "detect": {"spike": {"window_updates": 64, "threshold": 1000.0, "warmup_updates": 8}},
        "checkpoint": {"every_steps": 10, "keep": 3},
        "snapshot": {"every_steps": 10, "keep": 3},
        "probation_steps": 10,
        "cooldown_steps": 8,
        # What happens to the process is met alike with and without; here the whole ladder is to be seen.
        "experiments": None,
        "restart": {"max_restarts": 1000, "backoff_initial_seconds": 0},
    }
    policy.update(values.pop("policy", {}))
    job = {"trainer": STEADY, "steps": 200, "seed": 3, "run_dir": "run", "log_every_steps": 1, "device": "cpu"}
    return write_job(folder, **{**job, **values, "policy": policy})


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` has filled, made once for all processes of a test session."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@contextlib.contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor that does not outlive the block, nor anything it started."""
    with start(*arguments, cwd=cwd) as parent:
        try:
            yield parent
        except BaseException:
            parent.kill()
            raise


def checkpoints(run_dir: Path) -> list[Path]:
    """Committed checkpoints, oldest first."""
    return sorted((run_dir / "checkpoints").glob("step-*"))


def end_of(run_dir: Path, steps: int) -> Any:
    """The state that the run ended with."""
    return torch.load(run_dir / "checkpoints" / f"step-{steps:08d}" / "state.pt", weights_only=True)


BUT = (
    "moment.useful_seconds",
    "counters.useful_seconds",
    "counters.seconds",
    "book.seconds",
    "book.incident.seconds",
    "policy.restart",
    "policy.checkpoint.keep",
    "policy.checkpoint.last_save_seconds",
)


def assert_same_end(run_dir: Path, unbroken: Path, steps: int) -> None:
    """Two runs ended in the same state, bit for bit: all that is in the last checkpoint but seconds and timeouts."""
    assert_same(end_of(run_dir, steps), end_of(unbroken, steps), but=BUT)


def named(run_dir: Path, *names: str) -> list[Any]:
    """The events of these names that count."""
    return [event for event in read_events(run_dir) if event.event in names]


def exits(run_dir: Path) -> list[str]:
    """How each worker ended, in order."""
    return [str(event.classification) for event in named(run_dir, "worker_exited")]


def worker_pids(run_dir: Path) -> list[int]:
    """The workers started so far, in order."""
    if not (run_dir / "events" / "supervisor.jsonl").exists():
        return []
    with contextlib.suppress(ValueError):  # a line is being written
        return [line["pid"] for line in read_lines(run_dir, "supervisor") if line["event"] == "worker_started"]
    return []


def life(run_dir: Path, number: int, parent: subprocess.Popen[str]) -> int:
    """The pid of worker `number`, from 0, once it is there.

    Raises:
        AssertionError: the parent ended before.
    """

    def started() -> int | None:
        pids = worker_pids(run_dir)
        if len(pids) > number:
            return pids[number]
        assert parent.poll() is None, f"ended with {parent.returncode} before worker {number} was started"
        return None

    return int(until(started, every=0.01))


AHEAD = 15
"""Steps that a worker may go beyond the moment at which it is to be killed: a checkpoint's write is among them."""


def gate_at(folder: Path, call: int) -> None:
    """Have the steady trainer wait before its loss call of this number, and all after it, until the gate is open."""
    part = folder / ".gate"
    part.write_text(str(call), encoding="utf-8")
    part.replace(folder / "gate")


def open_gate(folder: Path) -> None:
    """Let it go on to its end."""
    (folder / "gate").unlink()


def kill_workers(
    run_dir: Path,
    parent: subprocess.Popen[str],
    moments: list[tuple[int, bool]],
    *,
    first: int = 0,
    whole: bool = False,
) -> list[int]:
    """SIGKILL one worker after the other, and let the next one after the last go on to its end.

    The steady trainer stands still a few steps after the moment, and so does its disk within a checkpoint's write.

    Args:
        run_dir: the run directory.
        parent: the supervisor.
        moments: for each worker the step from which on it is killed, and whether only while it writes a checkpoint.
        first: which worker is the first, where there were others before.
        whole: kill the parent first, and the worker's group.

    Returns:
        The step at which each was killed.
    """
    killed = []
    for index, (step, writing) in enumerate(moments):
        gate_at(run_dir.parent, max(step, 0) + AHEAD)
        killed.append(_kill_one(run_dir, parent, first + index, step, writing, whole))
    open_gate(run_dir.parent)
    return killed


def _kill_one(run_dir: Path, parent: subprocess.Popen[str], number: int, step: int, writing: bool, whole: bool) -> int:
    pid = life(run_dir, number, parent)
    heartbeat, slow_disk = Heartbeat(run_dir / "heartbeat" / "rank0"), run_dir.parent / "slow-disk"

    def there() -> bool:
        pulse = heartbeat.read()
        assert alive(pid), f"worker {number} ended by itself at step {pulse.step}, before {step}"
        if pulse.step < step:
            return False
        if writing:
            slow_disk.touch()
        return not writing or any((run_dir / "checkpoints").glob(".unfinished-step-*"))

    try:
        until(there, every=0.001)
        at = heartbeat.read().step
    finally:
        heartbeat.close()
        slow_disk.unlink(missing_ok=True)
    if whole:
        parent.kill()
        parent.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
    else:
        os.kill(pid, signal.SIGKILL)
    return at


def alive(pid: int) -> bool:
    """Whether a process runs: one that is dead and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
