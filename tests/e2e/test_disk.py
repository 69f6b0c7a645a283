"""A disk that is full, or refuses to write, for a part of the run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command import supervise
from support.runs import assert_same_end, checkpoints, exits, named, steady_job

from supervisor.checkpoints import CheckpointStore

STEPS = 200
SHUT, OPEN = 45, 125


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a file system can be mounted here by nobody or by root alone")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def loadable(run: Path) -> list[int]:
    """The steps of the checkpoints that can be loaded."""
    store = CheckpointStore(run / "checkpoints", "test")
    return [int(store.load(path)["moment"]["step"]) for path in checkpoints(run)]


def assert_gap(saved: list[int]) -> None:
    """Every checkpoint but those in between; the last of them may have been tried again until there was space."""
    assert [step for step in saved if step != OPEN - 5] == [*range(0, SHUT, 10), *range(OPEN + 5, STEPS + 1, 10)]


def warnings(run: Path) -> list[Any]:
    return [event for event in named(run, "warning") if event.message.startswith("checkpoint: ")]


@pytest.mark.parametrize(
    "left_bytes", [pytest.param(16 << 10, marks=pytest.mark.slow, id="nearly"), pytest.param(0, id="to_the_last_byte")]
)
def test_a_full_disk(tmp_path: Path, unbroken: Path, small_disk: Path, left_bytes: int) -> None:
    """The worker is killed while it is full, too: it goes on from before, on the full disk."""
    run = small_disk / "run"
    faults = {"fill": SHUT, "kill": 100, "empty": OPEN}
    steady_job(tmp_path, run_dir="disk/run", config={"faults": faults, "left_bytes": left_bytes}, log_every_steps=20)
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert exits(run)[-1] == "finished"
    saved = [event.checkpoint_step for event in named(run, "checkpoint_saved")]
    assert_gap(saved)
    assert loadable(run)[-1] == STEPS
    said = " ".join(event.message for event in named(run, "warning"))
    if left_bytes:
        assert {event.step for event in warnings(run)} >= set(range(SHUT + 5, OPEN - 10, 10))
        assert "and the disk has" in said
    else:
        assert "checkpoint: " in said or "events before the last are missing" in said
    assert_same_end(run, unbroken / "run", STEPS)


@pytest.mark.slow
def test_a_disk_that_refuses_in_the_middle_of_a_write(tmp_path: Path, unbroken: Path) -> None:
    steady_job(tmp_path, config={"faults": {"limit": SHUT, "lift": OPEN}}, log_every_steps=1000)
    run = tmp_path / "run"
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exits(run) == ["finished"]
    assert [event.step for event in warnings(run)][:7] == list(range(SHUT + 5, OPEN - 10, 10))
    assert all("could not be written" in event.message for event in warnings(run))
    saved = [event.checkpoint_step for event in named(run, "checkpoint_saved")]
    assert_gap(saved)
    assert loadable(run)[-1] == STEPS
    assert not list((run / "checkpoints").glob(".unfinished-*"))
    assert_same_end(run, unbroken / "run", STEPS)
