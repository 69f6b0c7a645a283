"""Evaluations amid a run, its best checkpoint, and what is made of it from outside."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.command import supervise
from support.exact import assert_same
from support.runs import BUT, end_of, gate_at, life, named, open_gate, running, steady_job, until

STEPS = 200

TRAINER = """
import sys
from pathlib import Path

import torch
from steady import Steady


class Watched(Steady):
    def evaluate(self):
        self.model.eval()
        noise = torch.rand(()).item()
        if self.calls == 100:
            sys.exit("no held-out data")
        x, y = self.data.dataset.x_NF, self.data.dataset.y_N1
        for batch in self.data:
            pass
        loss = (self.model(x) - y).square().mean()
        return {"loss": loss, "noise": noise, "last": -self.calls, 3: None}
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was evaluated from outside while it ran, was killed amid, and finished."""
    folder = tmp_path_factory.mktemp("watched")
    best = {"metric": "noise", "mode": "min"}
    steady_job(folder, trainer="watched:Watched", evaluate_every_steps=25, keep_best=best)
    (folder / "watched.py").write_text(TRAINER, encoding="utf-8")
    run = folder / "run"
    gate_at(folder, 64)
    with running("run", "job.yaml", cwd=folder) as parent:
        worker = life(run, 0, parent)
        until(lambda: (run / "checkpoints" / "step-00000060").is_dir())
        during = supervise("evaluate", "run", "--checkpoint", "last", "--json", cwd=folder)
        assert during.returncode == 0, during.stderr
        (folder / "during.json").write_text(during.stdout)
        os.kill(worker, signal.SIGKILL)
        open_gate(folder)
        told, _ = parent.communicate()
    assert parent.returncode == 0
    (folder / "told.txt").write_text(told)
    return folder


@pytest.mark.slow
def test_the_end_is_that_of_a_run_without_them(watched: Path, unbroken: Path) -> None:
    """Killed and resumed, with an evaluation that reads the training data, draws, and exits once."""
    but = (*BUT, "probation")
    assert_same(end_of(watched / "run", STEPS), end_of(unbroken / "run", STEPS), but=but)


@pytest.mark.slow
def test_they_are_on_record_once_each(watched: Path) -> None:
    run = watched / "run"
    assert [event.step for event in named(run, "metrics")] == [25, 50, 75, 125, 150, 175, 200]
    (failed,) = [event for event in named(run, "warning") if "evaluation failed" in event.message]
    assert failed.message == "evaluation failed: SystemExit: no held-out data"
    assert 'sys.exit("no held-out data")' in failed.traceback
    assert failed.step == 100
    told = (watched / "told.txt").read_text()
    assert "step 100  warning: evaluation failed: SystemExit: no held-out data" in told
    assert 'sys.exit("no held-out data")' in told


def test_it_may_be_evaluated_while_it_runs(watched: Path) -> None:
    during = json.loads((watched / "during.json").read_text())
    assert (during["which"], during["step"]) == ("last", 60)
    assert during["metrics"].keys() == {"loss", "noise", "last"}


def test_the_best_is_kept_evaluated_exported_and_loaded(watched: Path) -> None:
    run = watched / "run"
    measured = {event.step: event.metrics for event in named(run, "metrics")}
    best = min(measured, key=lambda step: measured[step]["noise"])
    done = supervise("evaluate", "run", "--json", cwd=watched)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["step"], found["metrics"]) == (best, measured[best])
    done = supervise("export", "run", "-o", "model.safetensors", cwd=watched)
    assert done.returncode == 0, done.stderr
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.BatchNorm1d(16), torch.nn.Tanh(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1)
    )
    model.load_state_dict(safetensors.torch.load_file(watched / "model.safetensors"))
    model.eval()
    generator = torch.Generator().manual_seed(5)
    x_NF = torch.randn(160, 6, generator=generator)
    loss = (model(x_NF) - torch.tanh(x_NF.sum(1, keepdim=True))).square().mean()
    assert loss.item() == pytest.approx(measured[best]["loss"], rel=1e-6)
