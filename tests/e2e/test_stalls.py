"""A worker that stands still is found, says where it stood, and is replaced."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.command import read_lines, supervise
from support.runs import assert_same_end, exits, named, steady_job

STALL_SECONDS = 5.0
"""Longer than a step takes however busy the machine. How it is counted is told to the watch in its own unit test."""
POLICY: dict[str, Any] = {
    "restart": {
        "max_restarts": 2,
        "backoff_initial_seconds": 0,
        "stall_timeout_seconds": STALL_SECONDS,
        "startup_timeout_seconds": 100,
    }
}


def test_a_worker_that_stands_still(tmp_path: Path, unbroken: Path) -> None:
    """In native code, with the interpreter's lock, and SIGTERM ignored."""
    steady_job(tmp_path, config={"faults": {"native_locked": 80}}, policy=POLICY)
    assert_found(tmp_path, unbroken, {"native_holding_the_lock": 80})


@pytest.mark.slow
def test_workers_that_can_be_reached_a_little_further(tmp_path: Path, unbroken: Path) -> None:
    """One sleeps, one is in native code without the lock."""
    steady_job(tmp_path, config={"faults": {"sleep": 40, "native": 80}}, policy=POLICY)
    assert_found(tmp_path, unbroken, {"sleep_for_ever": 40, "native_for_ever": 80})


def assert_found(folder: Path, unbroken: Path, functions: dict[str, int]) -> None:
    """Each stall was found at its step, its stack tells the line, and the run has ended as if there had been none."""
    done = supervise("run", "job.yaml", cwd=folder)
    run = folder / "run"
    assert done.returncode == 0, done.stderr
    assert exits(run) == ["stalled"] * len(functions) + ["finished"]
    steps = [
        (datetime.fromisoformat(line["time"]), line["step"]) for line in read_lines(run) if line["event"] == "step"
    ]
    stalls = zip(functions.items(), named(run, "worker_stalled"), strict=True)
    for number, ((function, at), stalled) in enumerate(stalls, start=1):
        assert max(each for each in steps if each[0] < stalled.time)[1] == at - 1
        assert stalled.seconds > STALL_SECONDS
        incident = run / "incidents" / f"process-{number:04d}"
        record = json.loads((incident / "incident.json").read_text())
        assert record["classification"] == "stalled"
        stacks = (incident / record["stacks"]).read_text()
        assert re.search(rf'steady.py", line \d+ in {function}\n', stacks)
        assert re.search(r'steady.py", line \d+ in loss\n', stacks)
    assert_same_end(run, unbroken / "run", 200)


@pytest.mark.slow
def test_a_start_that_never_ends_is_a_stall(tmp_path: Path) -> None:
    policy = {"restart": {"max_restarts": 0, "stall_timeout_seconds": 0.1, "startup_timeout_seconds": 0.5}}
    steady_job(tmp_path, steps=20, policy=policy)
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert exits(tmp_path / "run") == ["stalled"]
