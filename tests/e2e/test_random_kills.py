"""SIGKILL of the worker, of the parent, of the worker's group or of a process of its loader, at random, forty times."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from support.command import PATIENCE_SECONDS, start, supervise
from support.runs import AHEAD, alive, assert_same_end, exits, gate_at, life, open_gate, steady_job, until

from supervisor.process.heartbeat import Heartbeat

STEPS = 200
VICTIMS = ("worker", "parent", "group", "loader")
LOADER = "pt_data_worker"
"""What torch calls the processes of a loader."""


def children(pid: int) -> list[int]:
    """The processes that one has started, as the kernel lists them."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except OSError:
        return []


def named_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def strike(victim: str, worker: int, parent: subprocess.Popen[str]) -> list[int]:
    """Kill; gives the processes that must be gone afterwards."""
    loaders = [pid for pid in children(worker) if named_of(pid) == LOADER]
    match victim:
        case "worker":
            os.kill(worker, signal.SIGKILL)
        case "group":
            os.killpg(worker, signal.SIGKILL)
        case "loader":
            os.kill(loaders[0], signal.SIGKILL)
        case "parent":
            parent.kill()
            parent.wait()
    return [worker, *loaders]


@pytest.mark.slow
def test_forty_kills_with_two_loader_processes(tmp_path: Path) -> None:
    """Dropout, noise in the loss and in each row: bit for bit as the run that nobody kills, and no orphan."""
    config = {"loader_workers": 2, "augment": True}
    still, struck = tmp_path / "still", tmp_path / "struck"
    steady_job(still, config=config)
    assert supervise("run", "job.yaml", cwd=still).returncode == 0
    steady_job(struck, config=config)
    run, drawn = struck / "run", random.Random(11)
    moments = sorted(drawn.randrange(0, STEPS - 25) for _ in range(40))
    victims = [drawn.choice(VICTIMS) for _ in moments]
    assert set(victims) == set(VICTIMS)
    gone: list[int] = []
    gate_at(struck, AHEAD)
    parent = start("run", "job.yaml", cwd=struck)
    try:
        for number, (step, victim) in enumerate(zip(moments, victims, strict=True)):
            gate_at(struck, step + AHEAD)
            worker = life(run, number, parent)
            heartbeat = Heartbeat(run / "heartbeat" / "rank0")
            until(lambda at=step, of=heartbeat: of.read().step >= at, every=0.001)  # type: ignore[misc]
            heartbeat.close()
            gone += strike(victim, worker, parent)
            if victim == "parent":
                until(lambda of=worker: not alive(of))  # type: ignore[misc]
                parent = start("run", "job.yaml", "--resume", cwd=struck)
            if victim == "loader":
                # It is told when the next batch is drawn: the gate must not keep it from that.
                open_gate(struck)
                until(lambda of=worker: not alive(of))  # type: ignore[misc]
        open_gate(struck) if (struck / "gate").exists() else None
        out, err = parent.communicate(timeout=PATIENCE_SECONDS)
    except BaseException:
        parent.kill()
        raise
    assert parent.returncode == 0, (out, err)
    assert exits(run)[-1] == "finished"
    assert_same_end(run, still / "run", STEPS)
    assert [pid for pid in gone if alive(pid)] == []
