"""Acceptance: EnergyFlow under `supervisor run` survives a fault of each kind and ends as good as without it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import read_lines, supervise, write_job
from support.runs import made_once

STEPS = 80
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

GRU = "carrier.gru*"

FAULTS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "skip_batch": [
        ({"kind": "nan_batch", "at_batch": 25}, "nonfinite_loss"),
        ({"kind": "nan_gradient", "at_batch": 40, "parameter": GRU}, "nonfinite_gradient"),
        ({"kind": "overflow_gradient", "at_batch": 55}, "gradient_overflow"),
    ],
    "reload_checkpoint": [
        ({"kind": "nan_weight", "at_batch": 25, "parameter": GRU}, "nonfinite_parameter"),
        ({"kind": "nan_optimizer_state", "at_batch": 55, "parameter": GRU}, "nonfinite_optimizer_state"),
    ],
}
"""By the action that cures them, each in an incident of its own: with the signal that tells it."""


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
def fault_free(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Held-out error of the run without a fault."""

    def make(folder: Path) -> None:
        lines, _ = run(folder, [])
        assert not [line for line in lines if line["event"] == "signal"]

    return held_out(read_lines(made_once(tmp_path_factory, "energy_flow_fault_free", make) / "run"))


@pytest.mark.parametrize(
    "action", ["skip_batch", *(pytest.param(each, marks=pytest.mark.slow) for each in FAULTS if each != "skip_batch")]
)
def test_faults_end_in_a_finished_run_as_good_as_one_without(action: str, fault_free: float, tmp_path: Path) -> None:
    faults = FAULTS[action]
    lines, run_dir = run(tmp_path, [fault for fault, _ in faults])
    signals = [line for line in lines if line["event"] == "signal" and line["signal"] != "sanitized_values"]
    for fault, name in faults:
        first = next(line for line in signals if line["update"] >= fault["at_batch"])
        assert first["signal"] == name
        if name != "nonfinite_optimizer_state":
            # The optimizer's state is looked at every few steps, and with every flagged step; the others every step.
            # A batch whose bad rows are known comes again without them, and one that failed once comes again as it is.
            earlier = [line for line in lines if line["event"] == "decision" and line["update"] < first["update"]]
            again = [line for line in earlier if line["retry"] or (line["evidence"] or {}).get("batches") == 0]
            assert first["update"] == fault["at_batch"] + len(again)
    assert signals[0]["update"] == faults[0][0]["at_batch"]
    decisions = [line for line in lines if line["event"] == "decision"]
    assert [line["action"] for line in decisions] == [action] * len(faults)
    assert [line["cured_by"] for line in lines if line["event"] == "incident_closed"] == [action] * len(faults)
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
