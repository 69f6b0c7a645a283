"""A run that was evaluated and has kept its best checkpoint, made in this process.

The trainer ties two weights, keeps statistics and a buffer that no state_dict holds, has state of its own, and its
evaluation draws. `saved:Averaged` averages its weights too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.job import ResolvedJob
from supervisor.process.ending import StopRequest
from supervisor.process.heartbeat import Heartbeat
from supervisor.process.run_directory import RunDirectory
from supervisor.process.spec import WorkerSpec
from supervisor.process.worker import run_job

__all__ = ["RULE", "SCORES", "NeverStops", "saved_run"]

RULE = {"metric": "score", "mode": "max"}

SCORES = {4: 0.1, 8: 0.9, 12: 0.3}
"""What the trainer's evaluation gives, by the steps done."""

TRAINER = '''
import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Linear(4, 4, bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 4, bias=False)
        self.out.weight = self.into.weight
        self.register_buffer("scratch", torch.zeros(2), persistent=False)

    def forward(self, x):
        return self.out(torch.tanh(self.norm(self.into(x))))


class Saved:
    def __init__(self, config, seed):
        generator = torch.Generator().manual_seed(seed)
        self.model = Tied()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.data = [torch.randn(8, 4, generator=generator) for _ in range(4)]
        self.steps = 0
        self.raises = config.get("raises", False)

    @classmethod
    def from_config(cls, config, *, seed):
        return cls(config, seed)

    def loss(self, x):
        self.steps += 1
        self.model.scratch += 1
        return (self.model(x) - x).square().mean()

    def evaluate(self):
        print("evaluating")
        if self.raises:
            raise ValueError("no held-out data")
        scores = {4: 0.1, 8: 0.9, 12: 0.3}
        self.model.eval()
        loss = self.model(self.data[0]).square().mean().item()
        return {"score": scores[self.steps], "drawn": torch.rand(()).item(), "loss": loss, "nan": float("nan")}

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


class Blind(Saved):
    evaluate = None


class Averaged(Saved):
    """Keeps an average of each weight in what the optimizer holds."""

    def __init__(self, config, seed):
        super().__init__(config, seed)
        self.optimizer.register_step_post_hook(self.follow)

    def follow(self, optimizer, args, kwargs):
        for parameter in self.model.parameters():
            average = optimizer.state[parameter].setdefault("average", parameter.detach().clone())
            average.lerp_(parameter.detach(), 0.5)

    def averaged_weights(self):
        held = ((name, self.optimizer.state.get(parameter)) for name, parameter in self.model.named_parameters())
        return {name: state["average"] for name, state in held if state} or None
'''


class NeverStops(StopRequest):
    """Leaves the signals of this process alone."""

    def __init__(self) -> None:
        return

    def goes_to(self, receiver: object) -> None:
        return


def saved_run(resolve: Callable[..., ResolvedJob], *, run: bool = True, resume: bool = False, **values: Any) -> Path:
    """The directory of a run of 12 steps, evaluated at each fourth; its best checkpoint is that of step 8."""
    Path("saved.py").write_text(TRAINER, encoding="utf-8")
    resolved = resolve(
        **{
            "trainer": "saved:Saved",
            "steps": 12,
            "evaluate_every_steps": 4,
            "keep_best": RULE,
            "policy": {"checkpoint": {"every_steps": 6, "keep": 1}, "probation_steps": 1},
            **values,
        }
    )
    directory = RunDirectory(resolved)
    if not resume:
        directory.open_new()
    directory.prepare()
    spec = WorkerSpec.of(resolved, run_id="abc", resume=resume)
    if run:
        run_job(spec, NeverStops(), Heartbeat(spec.layout.heartbeat, create=True))
    return Path(resolved.job.run_dir)
