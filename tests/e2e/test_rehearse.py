"""`supervisor rehearse`: the user's own job with faults that happen to processes and disks too, and its score."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command import supervise
from support.runs import exits, steady_job

from supervisor.faults import read_fault_records

POLICY: dict[str, Any] = {
    "restart": {
        "max_restarts": 5,
        "backoff_initial_seconds": 0,
        # Nothing hangs but where a test says so, and however busy the machine nothing is taken for it.
        "stall_timeout_seconds": 300,
        "startup_timeout_seconds": 300,
    },
}
FAULTS: list[dict[str, Any]] = [
    {"kind": "nan_batch", "at_batch": 15},
    {"kind": "nan_weight", "at_batch": 45},
    {"kind": "forward_exception", "at_batch": 65, "module": "3"},
    # Steps 83 and 85, as far from a checkpoint as can be: the damaged one is the newest when the worker dies.
    {"kind": "corrupt_checkpoint", "at_batch": 99, "mode": "flip"},
    {"kind": "kill_worker", "at_batch": 101},
    {"kind": "disk_full", "at_batch": 151, "batches": 15},
]


def rehearsed(folder: Path, faults: list[dict[str, Any]], *arguments: str) -> Any:
    """The command on a steady job; stdout holds nothing but the score."""
    steady_job(folder, policy=POLICY, log_every_steps=1000)
    (folder / "faults.yaml").write_text(yaml.safe_dump({"version": 1, "faults": faults}), encoding="utf-8")
    command = ["rehearse", "job.yaml", "--faults", "faults.yaml", "--run-dir", "out", "--json", *arguments]
    done = supervise(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_rehearsal_runs_the_reference_then_the_faults_and_scores_them(tmp_path: Path) -> None:
    score = rehearsed(tmp_path, FAULTS)
    rehearsal = tmp_path / "out" / "rehearsal"
    assert exits(tmp_path / "out" / "reference") == ["finished"]
    assert exits(rehearsal) == ["killed", "finished"]
    # Each struck once, although the killed worker's successor came to some of their batches again.
    assert [(each.kind, each.batch) for each in read_fault_records(rehearsal / "faults.jsonl")] == [
        (fault["kind"], fault["at_batch"]) for fault in FAULTS
    ]
    assert [each["detected"] for each in score["each"]] == [
        "nonfinite_loss",
        "nonfinite_parameter",
        "step_exception",
        "checkpoint_rejected",
        "worker_exited",
        "warning: checkpoint",
    ]
    assert [each["cured_by"] for each in score["each"]] == [
        "skip_batch",
        "reload_checkpoint",
        "skip_batch",
        "older checkpoint",
        "restart",
        "next write",
    ]
    assert score["unexplained"] == 0
    assert score["rehearsal"]["steps"] == score["reference"]["steps"] == 200
    assert all(0 < score[part]["ettr"] < 1 for part in ("reference", "rehearsal"))
    assert json.loads((rehearsal / "score.json").read_text()) == score


@pytest.mark.slow
def test_a_hang_is_ended_by_the_parent_and_a_reference_is_used_again(tmp_path: Path, unbroken: Path) -> None:
    faults = [{"kind": "hang", "at_batch": 50}, {"kind": "slow_step", "at_batch": 120, "seconds": 1.5}]
    score = rehearsed(
        tmp_path, faults, "--reference", str(unbroken / "run"), "--set", "policy.restart.stall_timeout_seconds=5"
    )
    assert not (tmp_path / "out" / "reference").exists()
    assert exits(tmp_path / "out" / "rehearsal") == ["stalled", "finished"]
    assert [each["detected"] for each in score["each"]] == ["worker_stalled", "warning: slow step"]
    assert [each["cured_by"] for each in score["each"]] == ["restart", "waiting"]


def test_bad_input_ends_in_2_before_anything_runs(tmp_path: Path) -> None:
    steady_job(tmp_path)
    (tmp_path / "f.yaml").write_text("faults:\n  - {kind: hang}", encoding="utf-8")
    done = supervise("rehearse", "job.yaml", "--faults", "f.yaml", cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert re.fullmatch(r"f\.yaml:2: faults\.0\.at_batch: is missing.*: write .*\n", done.stderr), done.stderr
    assert not (tmp_path / "run-rehearsal").exists()


def test_a_glob_that_fits_nothing_is_told_with_its_line_before_anything_is_trained(tmp_path: Path) -> None:
    steady_job(tmp_path)
    (tmp_path / "f.yaml").write_text("faults: [{kind: nan_weight, at_batch: 1, parameter: gru}]", encoding="utf-8")
    done = supervise("rehearse", "job.yaml", "--faults", "f.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "f.yaml:1: faults.0.parameter: 'gru' matches no parameter: write one of: " in done.stderr
    assert not (tmp_path / "run-rehearsal").exists()
