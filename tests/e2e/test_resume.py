"""Stopped on purpose, damaged, changed or over: what `--resume` makes of a run."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import PATIENCE_SECONDS, read_lines, supervise
from support.runs import assert_same_end, checkpoints, exits, life, made_once, named, running, steady_job

STEPS = 200


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was asked to stop at step 57."""

    def make(folder: Path) -> None:
        steady_job(folder, config={"faults": {"sigterm": 57}}, policy={"checkpoint": {"every_steps": 10, "keep": 6}})
        done = supervise("run", "job.yaml", cwd=folder)
        assert done.returncode == 75, done.stderr

    return made_once(tmp_path_factory, "stopped", make)


@pytest.fixture
def half_way(tmp_path: Path, stopped: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "copy"))


def test_sigterm_then_resume(half_way: Path, unbroken: Path) -> None:
    run = half_way / "run"
    assert exits(run) == ["interrupted"]
    assert named(run, "run_finished")[-1].status == "interrupted"
    at = named(run, "run_finished")[-1].summary.steps
    # The step in which the request came was finished, and no other was begun.
    assert at == 58
    assert checkpoints(run)[-1].name == f"step-{at:08d}"
    done = supervise("run", "job.yaml", "--resume", cwd=half_way)
    assert done.returncode == 0, done.stderr
    assert_same_end(run, unbroken / "run", STEPS)
    # Over: said so.
    over = supervise("run", "job.yaml", "--resume", cwd=half_way)
    assert (over.returncode, over.stderr) == (0, "")
    assert "has finished its 200 steps" in over.stdout
    # Unless there is more to do; how often it logs and what its policy is may change.
    flags = ["--steps", "220", "--set", "policy.cooldown_steps=7", "--set", "log_every_steps=5"]
    more = supervise("run", "job.yaml", "--resume", *flags, cwd=half_way)
    assert more.returncode == 0, more.stderr
    assert checkpoints(run)[-1].name == "step-00000220"


@pytest.mark.slow
def test_stopped_while_it_starts_and_by_ctrl_c(tmp_path: Path, unbroken: Path) -> None:
    steady_job(tmp_path, config={"faults": {"sigint": 33}})
    run = tmp_path / "run"
    with running("run", "job.yaml", cwd=tmp_path) as parent:
        life(run, 0, parent)
        parent.terminate()
        parent.communicate(timeout=PATIENCE_SECONDS)
    assert parent.returncode == 75
    assert supervise("run", "job.yaml", "--resume", cwd=tmp_path).returncode == 75
    assert supervise("run", "job.yaml", "--resume", cwd=tmp_path).returncode == 0
    assert exits(run) == ["interrupted", "interrupted", "finished"]
    assert_same_end(run, unbroken / "run", STEPS)


class Bomb:
    """Executes something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch exploded",))


def truncate(newest: Path) -> None:
    state = newest / "state.pt"
    os.truncate(state, state.stat().st_size // 2)


def flip(newest: Path) -> None:
    data = bytearray((newest / "state.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "state.pt").write_bytes(data)


def poison(newest: Path) -> None:
    tree = torch.load(newest / "state.pt", weights_only=True)
    tree["moment"]["training"]["parameters"]["0.weight"][0, 0] = float("nan")
    torch.save(tree, newest / "state.pt")
    recompute(newest)


def poison_moments(newest: Path) -> None:
    tree = torch.load(newest / "state.pt", weights_only=True)
    tree["moment"]["training"]["optimizer"]["state"]["0.weight"]["exp_avg"][0, 0] = float("inf")
    torch.save(tree, newest / "state.pt")
    recompute(newest)


def lose_manifest(newest: Path) -> None:
    (newest / "manifest.json").unlink()


def half_rename(newest: Path) -> None:
    """Only a part of what belongs in the folder came over."""
    (newest / "state.pt").unlink()


def bomb(newest: Path) -> None:
    (newest / "state.pt").write_bytes(pickle.dumps(Bomb()))
    recompute(newest)


def bomb_in_archive(newest: Path) -> None:
    torch.save({"moment": Bomb()}, newest / "state.pt")
    recompute(newest)


def recompute(checkpoint: Path) -> None:
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    state = (checkpoint / "state.pt").read_bytes()
    manifest["files"]["state.pt"] = {"sha256": hashlib.sha256(state).hexdigest(), "bytes": len(state)}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


DAMAGE: list[dict[Callable[[Path], None], str]] = [
    # The first is for the newest, and so on; the reason is what is said of it.
    {truncate: "torn", flip: "SHA-256", poison: "non-finite: 0.weight", lose_manifest: "no manifest.json"},
    {
        bomb: "cannot be loaded",
        bomb_in_archive: "cannot be loaded",
        poison_moments: "non-finite: ",
        half_rename: "state.pt cannot be read",
    },
]


@pytest.mark.parametrize("damage", DAMAGE, ids=["files", "contents"])
def test_damaged_checkpoints_are_passed_over(
    half_way: Path, unbroken: Path, damage: dict[Callable[[Path], None], str]
) -> None:
    run = half_way / "run"
    newest = checkpoints(run)[::-1]
    # The folder of one that was just about to be renamed.
    shutil.copytree(newest[0], newest[0].with_name(".unfinished-step-00000070"))
    for spoil, checkpoint in zip(damage, newest, strict=False):
        spoil(checkpoint)
    done = supervise("run", "job.yaml", "--resume", cwd=half_way)
    assert done.returncode == 0, done.stderr
    assert not list(half_way.glob("**/exploded"))
    lines = read_lines(run)
    resumed = next(index for index, line in enumerate(lines) if line["event"] == "run_resumed")
    # Those without a readable manifest have no place in the order of time and are passed over first.
    rejected = {line["path"]: line["reason"] for line in lines[:resumed] if line["event"] == "checkpoint_rejected"}
    assert rejected.keys() == {f"checkpoints/{path.name}" for path in newest[: len(damage)]}
    for checkpoint, reason in zip(newest, damage.values(), strict=False):
        assert reason in rejected[f"checkpoints/{checkpoint.name}"]
    assert lines[resumed]["path"] == f"checkpoints/{newest[len(damage)].name}"
    assert_same_end(run, unbroken / "run", STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("gone", [False, True])
def test_without_any_that_can_be_trusted(half_way: Path, gone: bool) -> None:
    run = half_way / "run"
    for checkpoint in checkpoints(run):
        shutil.rmtree(checkpoint) if gone else flip(checkpoint)
    before = {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}
    events = (run / "events" / "rank0.jsonl").read_bytes()
    done = supervise("run", "job.yaml", "--resume", cwd=half_way)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "checkpoint" in done.stderr
    assert {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()} == before
    assert (run / "events" / "rank0.jsonl").read_bytes().startswith(events)


def test_what_may_not_change(half_way: Path) -> None:
    run = half_way / "run"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for change, named_as in {
        "seed=4": "seed (3, now 4)",
        "config.batch_size=4": "config.batch_size",
        "trainer=steady:Other": "trainer",
        "config.learning_rate=0.5": "config.learning_rate",
    }.items():
        done = supervise("run", "job.yaml", "--resume", "--set", change, cwd=half_way)
        assert done.returncode == 2, change
        assert named_as in done.stderr
    missing = supervise("run", "job.yaml", "--resume", "--run-dir", "elsewhere", cwd=half_way)
    assert missing.returncode == 2
    assert "no such run directory" in missing.stderr
    assert not (half_way / "elsewhere").exists()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_halted_run(tmp_path: Path) -> None:
    """Goes on from the last good state if the policy changed, else says so."""
    ladder = [{"action": "skip_batch", "attempts": 2}, {"action": "halt"}]
    steady_job(tmp_path, faults=[{"kind": "nan_batch", "at_batch": 60, "batches": 4}], policy={"ladder": ladder})
    run = tmp_path / "run"
    assert supervise("run", "job.yaml", cwd=tmp_path).returncode == 3
    before = (run / "events" / "rank0.jsonl").read_bytes()
    same = supervise("run", "job.yaml", "--resume", cwd=tmp_path)
    assert same.returncode == 3
    assert "was halted by this policy" in same.stdout
    assert (run / "events" / "rank0.jsonl").read_bytes() == before
    changed = supervise("run", "job.yaml", "--resume", "--set", "policy.cooldown_steps=3", cwd=tmp_path)
    assert changed.returncode == 0, changed.stderr
    assert checkpoints(run)[-1].name == "step-00000200"


@pytest.mark.slow
def test_loader_with_workers_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    config = {"loader_workers": 1}
    steady_job(tmp_path / "whole", config=config, steps=80)
    steady_job(tmp_path / "killed", config={**config, "faults": {"kill": 57}}, steps=80)
    for folder in ("whole", "killed"):
        done = supervise("run", "job.yaml", cwd=tmp_path / folder)
        assert done.returncode == 0, done.stderr
    assert exits(tmp_path / "killed" / "run") == ["killed", "finished"]
    assert_same_end(tmp_path / "killed" / "run", tmp_path / "whole" / "run", 80)
