"""SIGKILL at any moment, to the worker or to everything, and the run ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.command import read_lines, supervise, write_job
from support.runs import (
    assert_same_end,
    exits,
    gate_at,
    kill_workers,
    made_once,
    named,
    open_gate,
    running,
    steady_job,
    until,
    worker_pids,
)

from supervisor.events import read_events

STEPS = 200
KILLS = 30
KINDS = (
    "step",
    "signal",
    "decision",
    "action_applied",
    "incident_opened",
    "incident_closed",
    "lr_restored",
    "checkpoint_rejected",
)


def random_moments(count: int, steps: int, *, seed: int, writing_every: int) -> list[tuple[int, bool]]:
    """Steps in ascending order, up to shortly before the end; each n-th within a checkpoint's write."""
    drawn = random.Random(seed)
    at = sorted(drawn.randrange(0, steps - 25) for _ in range(count))
    return [(step, index % writing_every == 0) for index, step in enumerate(at)]


def assert_counted_once(run_dir: Path, *, resumes: int | None = None) -> None:
    """No update has two lines of a kind, and no line is older than what it follows."""
    seen = Counter(
        (event.event, event.rank, event.update, *(getattr(event, name, None) for name in ("signal", "rung", "path")))
        for event in read_events(run_dir)
        if event.event in KINDS
    )
    twice = {key: count for key, count in seen.items() if count > 1}
    assert not twice
    if resumes is not None:
        assert sum(line["event"] == "run_resumed" for line in read_lines(run_dir)) == resumes


def story(run_dir: Path) -> list[tuple[Any, ...]]:
    """What was found and done, without when."""
    fields = (
        "event",
        "step",
        "update",
        "signal",
        "incident",
        "action",
        "rung",
        "attempt",
        "restored_step",
        "lr_scale",
        "path",
    )
    return [tuple(str(getattr(event, name, None)) for name in fields) for event in named(run_dir, *KINDS)]


@pytest.mark.slow
def test_kills_one_after_the_other(tmp_path: Path, unbroken: Path) -> None:
    steady_job(tmp_path)
    run = tmp_path / "run"
    with running("run", "job.yaml", cwd=tmp_path) as parent:
        killed = kill_workers(run, parent, random_moments(KILLS, STEPS, seed=1, writing_every=3))
        said = parent.communicate()
    assert parent.returncode == 0, said
    assert exits(run) == ["killed"] * KILLS + ["finished"]
    assert len(set(killed)) > KILLS // 2
    assert_same_end(run, unbroken / "run", STEPS)
    # A kill can come before the next worker has said that it goes on.
    assert_counted_once(run)
    assert story(run) == story(unbroken / "run")


def test_kill_of_everything_then_resume(tmp_path: Path, unbroken: Path) -> None:
    """The first kill strikes before the first checkpoint is complete: the run then begins anew."""
    steady_job(tmp_path)
    run = tmp_path / "run"
    for number, moment in enumerate([(-1, False), (35, True), (120, False)]):
        with running("run", "job.yaml", *(["--resume"] if number else []), cwd=tmp_path) as parent:
            kill_workers(run, parent, [moment], first=number, whole=True)
    done = supervise("run", "job.yaml", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same_end(run, unbroken / "run", STEPS)
    assert_counted_once(run)
    assert story(run) == story(unbroken / "run")


FAULTY = {
    "faults": [
        {"kind": "nan_batch", "at_batch": 33},
        {"kind": "nan_batch", "at_batch": 61, "batches": 2},
        {"kind": "nan_batch", "at_batch": 105, "batches": 5},
        {"kind": "nan_weight", "at_batch": 140},
    ],
    "policy": {
        "ladder": [
            {"action": "skip_batch", "attempts": 1, "limit": {"uses": 100, "window_updates": 1000}},
            {"action": "lower_lr", "attempts": 1, "restore_after_steps": 30},
            {"action": "reload_checkpoint", "attempts": 2},
            {"action": "halt"},
        ],
    },
}


@pytest.fixture(scope="module")
def unbroken_faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with skips, cuts and reloads that nobody killed."""

    def make(folder: Path) -> None:
        steady_job(folder, **FAULTY)
        done = supervise("run", "job.yaml", cwd=folder)
        assert done.returncode == 0, done.stderr

    folder = made_once(tmp_path_factory, "faulty", make)
    done_by = [str(event.action) for event in named(folder / "run", "action_applied")]
    assert {"skip_batch", "lower_lr", "reload_checkpoint"} <= set(done_by)
    assert done_by.count("reload_checkpoint") == 2
    return folder


@pytest.mark.slow
def test_kills_amid_skips_cuts_and_reloads(tmp_path: Path, unbroken_faulty: Path) -> None:
    """The first fits between a cut of the learning rate and its being taken back."""
    steady_job(tmp_path, **FAULTY)
    run = tmp_path / "run"
    moments = [(64, False), (88, True), (107, False), (125, True)]
    with running("run", "job.yaml", cwd=tmp_path) as parent:
        kill_workers(run, parent, moments)
        said = parent.communicate()
    assert parent.returncode == 0, said
    assert exits(run) == ["killed"] * len(moments) + ["finished"]
    assert_same_end(run, unbroken_faulty / "run", STEPS)
    assert_counted_once(run, resumes=len(moments))
    assert story(run) == story(unbroken_faulty / "run")


SUSPICIOUS = {
    "faults": [
        {"kind": "outlier_batch", "at_batch": 62, "batches": 6, "factor": 10.0},
        {"kind": "lr_spike", "at_batch": 94, "batches": 4, "factor": 300.0},
        {"kind": "nan_batch", "at_batch": 125, "batches": 14},
    ],
    "policy": {"experiments": {}, "detect": {}},
}


@pytest.mark.slow
def test_kills_amid_experiments(tmp_path: Path) -> None:
    """Odd batches on trial, a rate that jumps, and a burst that is left out: each goes on as if nothing had been."""
    for name in ("whole", "killed"):
        steady_job(tmp_path / name, **SUSPICIOUS)
    done = supervise("run", "job.yaml", cwd=tmp_path / "whole")
    assert done.returncode == 0, done.stderr
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    moments = [(64, False), (68, True), (96, False), (131, False), (137, True)]
    with running("run", "job.yaml", cwd=tmp_path / "killed") as parent:
        kill_workers(killed, parent, moments)
        said = parent.communicate()
    assert parent.returncode == 0, said
    assert exits(killed) == ["killed"] * len(moments) + ["finished"]
    assert_same_end(killed, whole, STEPS)
    assert_counted_once(killed, resumes=len(moments))
    assert story(killed) == story(whole)
    tried = [(event.update, event.kind, event.verdict) for event in named(whole, "experiment")]
    assert {verdict for _, _, verdict in tried} == {"harmed", "unharmed"}
    assert [(event.update, event.kind, event.verdict) for event in named(killed, "experiment")] == tried


@pytest.mark.slow
def test_kill_right_after_a_reload(tmp_path: Path, unbroken_faulty: Path) -> None:
    steady_job(tmp_path, **FAULTY)
    run = tmp_path / "run"

    log = run / "events" / "rank0.jsonl"

    def reloaded() -> bool:
        return log.exists() and b'"action":"reload_checkpoint","seconds"' in log.read_bytes()

    gate_at(tmp_path, 115)
    with running("run", "job.yaml", cwd=tmp_path) as parent:
        until(reloaded, every=0.001)
        os.kill(worker_pids(run)[-1], signal.SIGKILL)
        open_gate(tmp_path)
        said = parent.communicate()
    assert parent.returncode == 0, said
    assert exits(run) == ["killed", "finished"]
    assert_same_end(run, unbroken_faulty / "run", STEPS)
    assert_counted_once(run, resumes=1)
    assert story(run) == story(unbroken_faulty / "run")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_hundred_kills_of_energy_flow(tmp_path: Path) -> None:
    """The default model; every fifth kill strikes within a checkpoint's write, every tenth takes the parent along."""
    steps = 300
    job = {
        "trainer": "energy_flow.energy_trainer:EnergyTrainer",
        "config": {"preset": "small", "batch_size": 4},
        "steps": steps,
        "seed": 7,
        "device": "cpu",
        "cpu_threads": 1,
        "policy": {
            "checkpoint": {"every_steps": 10, "keep": 3},
            "snapshot": {"every_steps": 10, "keep": 3},
            "restart": {"max_restarts": 1000, "backoff_initial_seconds": 0},
        },
    }
    write_job(tmp_path, **job, run_dir="whole")
    assert supervise("run", "job.yaml", cwd=tmp_path, timeout=300).returncode == 0
    run = tmp_path / "killed"
    moments = random_moments(100, steps, seed=2, writing_every=5)
    flags: list[str] = []
    number = 0
    while number < len(moments):
        together = moments[number : number + 10]
        with running("run", "job.yaml", "--run-dir", "killed", *flags, cwd=tmp_path) as parent:
            kill_workers(run, parent, together[:-1], first=number)
            kill_workers(run, parent, together[-1:], first=number + 9, whole=True)
        number, flags = number + 10, ["--resume"]
    done = supervise("run", "job.yaml", "--run-dir", "killed", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exits(run).count("killed") == 90
    assert_same_end(run, tmp_path / "whole", steps)
    assert_counted_once(run)
    assert story(run) == story(tmp_path / "whole")
