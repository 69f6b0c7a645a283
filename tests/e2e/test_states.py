"""What `status` and `events --follow` say of a real run whose processes are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.command import start, supervise
from support.runs import alive, gate_at, life, open_gate, running, steady_job, until


def state_of(folder: Path) -> dict[str, object]:
    told: dict[str, object] = json.loads(supervise("status", "run", "--json", cwd=folder).stdout)
    return told


def healthy(folder: Path, *more: str) -> int:
    return supervise("status", "run", "--healthy", *more, cwd=folder).returncode


@pytest.mark.slow
def test_a_run_whose_parent_was_killed_is_dead_and_whoever_follows_it_is_let_go(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    job = steady_job(folder, steps=40)
    gate_at(folder, 15)
    follower: subprocess.Popen[str] | None = None
    with running("run", str(job), cwd=folder) as parent:
        worker = life(folder / "run", 0, parent)
        until(lambda: (folder / "run" / "checkpoints" / "step-00000010").exists())
        assert state_of(folder)["state"] == "running"
        assert (healthy(folder), healthy(folder, "--max-age", "300"), healthy(folder, "--max-age", "0")) == (0, 0, 1)
        with start("events", "run", "--follow", "--json", cwd=folder) as follower:
            os.kill(parent.pid, signal.SIGKILL)
            parent.wait()
            until(lambda: not alive(worker))
            lines = follower.communicate()[0].splitlines()
    assert json.loads(lines[0])["event"] == "worker_started"
    assert not any(json.loads(line)["event"] == "run_finished" for line in lines)
    dead = state_of(folder)
    assert dead["state"] == "dead"
    assert "go on with supervisor resume " in str(dead["reason"])
    assert healthy(folder) == 1

    open_gate(folder)
    assert supervise("run", str(job), "--resume", "--steps", "60", cwd=folder).returncode == 0
    over = state_of(folder)
    assert (over["state"], over["step"], over["steps"]) == ("finished", 60, 60)
    assert healthy(folder, "--max-age", "0.001") == 0
    for which in ("last_checkpoint", "last_good_checkpoint"):
        assert (folder / "run" / str(over[which])).is_dir()
    account = over["account"]
    assert isinstance(account, dict)
    assert sum(value for name, value in account.items() if name != "paused") == pytest.approx(over["seconds"])
    assert account["down"] > 0
    assert account["wasted"] > 0
