"""Acceptance: EnergyFlow under `supervisor run` survives a fault of each kind and ends as good as without it."""

from __future__ import annotations

import fcntl
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import read_lines, supervise, write_job

STEPS = 80
AT = 40
POLICY = {
    "snapshot": {"every_steps": 10},
    "probation_steps": 5,
    "cooldown_steps": 10,
    "checkpoint": {"every_steps": 40},
    # Healthy gradients of the first steps jump; here only what is written into the run counts.
    "detect": {"spike": None},
}
CONFIG = {
    "preset": "small",
    "lattice_width": 6,
    "lattice_height": 6,
    "lattice_depth": 6,
    "batch_size": 8,
    "warmup_steps": 10,
    "schedule_steps": STEPS,
    "learning_rate": 5e-3,
}

FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "nan_batch": ({"kind": "nan_batch", "at_batch": AT}, "nonfinite_loss", "skip_batch"),
    "nan_weight": (
        {"kind": "nan_weight", "at_batch": AT, "parameter": "carrier.gru*"},
        "nonfinite_parameter",
        "reload_checkpoint",
    ),
    "nan_optimizer_state": (
        {"kind": "nan_optimizer_state", "at_batch": AT, "parameter": "carrier.gru*"},
        "nonfinite_optimizer_state",
        "reload_checkpoint",
    ),
    "nan_gradient": (
        {"kind": "nan_gradient", "at_batch": AT, "parameter": "carrier.gru*"},
        "nonfinite_gradient",
        "skip_batch",
    ),
    "overflow_gradient": ({"kind": "overflow_gradient", "at_batch": AT}, "gradient_overflow", "skip_batch"),
}


def run(folder: Path, faults: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Path]:
    """A short run of the real trainer; gives its events and its run directory."""
    folder.mkdir(parents=True, exist_ok=True)
    job = write_job(
        folder,
        trainer="energy_flow.energy_trainer:EnergyTrainer",
        config=CONFIG,
        policy=POLICY,
        steps=STEPS,
        seed=3,
        device="cpu",
        run_dir="run",
        faults=faults,
    )
    done = supervise("run", job.name, cwd=folder)
    assert done.returncode == 0, done.stderr
    return read_lines(folder / "run"), folder / "run"


def held_out(lines: list[dict[str, Any]]) -> float:
    metrics = [line["metrics"] for line in lines if line["event"] == "metrics"]
    return float(metrics[-1]["squared_error"])


@pytest.fixture(scope="session")
def fault_free(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> float:
    """Held-out error of the run without a fault; made once, whichever test process comes first."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    found = shared / "energy_flow_fault_free.json"
    with (shared / "energy_flow_fault_free.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            lines, _ = run(shared / "energy_flow_fault_free", [])
            assert not [line for line in lines if line["event"] == "signal"]
            found.write_text(json.dumps(held_out(lines)), encoding="utf-8")
    return float(json.loads(found.read_text(encoding="utf-8")))


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_ends_in_a_finished_run_as_good_as_one_without(kind: str, fault_free: float, tmp_path: Path) -> None:
    fault, signal, action = FAULTS[kind]
    lines, run_dir = run(tmp_path, [fault])
    signals = [line for line in lines if line["event"] == "signal" and line["signal"] != "sanitized_values"]
    assert signals[0]["signal"] == signal
    decisions = [line for line in lines if line["event"] == "decision"]
    assert [line["action"] for line in decisions] == [action]
    if kind != "nan_optimizer_state":
        # The optimizer's state is looked at every few steps, and with every flagged step; the others every step.
        assert signals[0]["update"] == AT
    assert [line["cured_by"] for line in lines if line["event"] == "incident_closed"] == [action]
    assert lines[-1]["event"] == "run_finished"
    assert lines[-1]["summary"]["steps"] == STEPS

    tree = torch.load(run_dir / "checkpoints" / f"step-{STEPS:08d}" / "state.pt", weights_only=True)
    training = tree["moment"]["training"]
    for name, tensor in training["parameters"].items():
        assert torch.isfinite(tensor).all(), name
    for name, state in training["optimizer"]["state"].items():
        assert all(torch.isfinite(held).all() for held in state.values()), name

    error = held_out(lines)
    assert math.isfinite(error)
    assert error <= fault_free * 1.05
