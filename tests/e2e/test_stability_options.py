"""EnergyFlow with each option of stability under `supervisor run`: a NaN batch is skipped, a kill leaves no trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from support.command import read_lines, supervise, write_job
from support.runs import assert_same_end, end_of, exits

STEPS = 40
CONFIG = {
    "preset": "small",
    "lattice_width": 6,
    "lattice_height": 6,
    "lattice_depth": 6,
    "batch_size": 8,
    "warmup_steps": 5,
    "schedule_steps": STEPS,
    "enable_detailed_gradient_monitoring": True,
}
POLICY = {
    "snapshot": {"every_steps": 10},
    "probation_steps": 5,
    "cooldown_steps": 10,
    "checkpoint": {"every_steps": 10},
    # Healthy gradients of the first steps jump; here only what is written into the run counts.
    "detect": {"spike": None},
    "restart": {"backoff_initial_seconds": 0},
}

SKIPPED, KILLED = {"kind": "nan_batch", "at_batch": 17}, {"kind": "kill_worker", "at_batch": 27}

ALL = {
    "precision": "bfloat16",
    "optimizer": "stable_adamw",
    "gradient_clipping": "zclip",
    "clipping_warmup_updates": 10,
    "ema_decay": 0.9,
}

OPTIONS: dict[str, dict[str, Any]] = {
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
    "adagc": {"gradient_clipping": "adagc", "clipping_warmup_updates": 10},
    "zclip": {"gradient_clipping": "zclip", "clipping_warmup_updates": 10},
    "stable_adamw": {"optimizer": "stable_adamw"},
    "average": {"ema_decay": 0.9},
}


def run(folder: Path, options: dict[str, Any], faults: list[dict[str, Any]]) -> Path:
    """A short run of the real trainer; gives its run directory."""
    folder.mkdir()
    write_job(
        folder,
        trainer="energy_flow.energy_trainer:EnergyTrainer",
        config={**CONFIG, **options},
        policy=POLICY,
        steps=STEPS,
        seed=3,
        device="cpu",
        run_dir="run",
        faults=faults,
    )
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def skips_and_resumes(folder: Path, options: dict[str, Any]) -> Path:
    """Run it with the NaN batch, with the kill and without; gives the directory of the one with both."""
    unbroken = run(folder / "unbroken", options, [SKIPPED])
    killed = run(folder / "killed", options, [SKIPPED, KILLED])
    assert exits(killed) == ["killed", "finished"]
    for run_dir in (unbroken, killed):
        lines = read_lines(run_dir)
        assert [line["action"] for line in lines if line["event"] == "decision"] == ["skip_batch"]
    assert_same_end(killed, unbroken, STEPS)
    training = end_of(killed, STEPS)["moment"]["training"]
    held = [*training["parameters"].values()]
    held += [tensor for state in training["optimizer"]["state"].values() for tensor in state.values()]
    assert all(torch.isfinite(tensor).all() for tensor in held)
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_job_with_an_option_skips_and_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    skips_and_resumes(tmp_path, OPTIONS[name])


@pytest.mark.slow
def test_a_job_with_all_of_them_does_and_its_averages_are_evaluated_and_exported(tmp_path: Path) -> None:
    run_dir = skips_and_resumes(tmp_path, ALL)
    training = end_of(run_dir, STEPS)["moment"]["training"]
    done = supervise("evaluate", str(run_dir), "--checkpoint", "last", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (recorded,) = [line["metrics"] for line in read_lines(run_dir) if line["event"] == "metrics"]
    metrics = json.loads(done.stdout)["metrics"]
    assert metrics["squared_error"] == recorded["squared_error"]
    assert metrics["update_to_weight_largest"] == recorded["update_to_weight_largest"]
    done = supervise("export", str(run_dir), "--checkpoint", "last", "-o", "model.safetensors", cwd=tmp_path)
    assert "averaged weights" in done.stdout
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata()["weights"] == "averaged"
    for name, tensor in safetensors.torch.load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(tensor, training["optimizer"]["state"][name]["average"]), name
