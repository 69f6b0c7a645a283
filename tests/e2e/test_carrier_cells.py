"""A run goes on with the cell that it was started with, and with no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import supervise, write_job

CONFIG = {"lattice_width": 4, "lattice_height": 4, "lattice_depth": 4, "batch_size": 4}


@pytest.mark.slow
def test_another_cell_is_refused_at_a_resume_and_both_are_named(tmp_path: Path) -> None:
    """Also where the run was started without a word of a cell, as every run of the version before the cells."""
    trainer = "energy_flow.energy_trainer:EnergyTrainer"
    write_job(tmp_path, trainer=trainer, config=CONFIG, steps=4, seed=3, device="cpu", run_dir="run")
    assert supervise("run", "job.yaml", cwd=tmp_path).returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    changed = ("--steps", "8", "--set", "config.carrier_cell=lru")
    done = supervise("run", "job.yaml", "--resume", *changed, cwd=tmp_path)
    assert done.returncode == 2
    assert "was started with another config.carrier_cell (gru, the default, now lru)" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
