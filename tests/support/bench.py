"""A real training with one good state, as the recovery actions see it."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from supervisor.actions import Restored
from supervisor.errors import ActionError
from supervisor.policy import DataAfterReload
from supervisor.training.modules import parameter_names
from supervisor.training.state import Subject, TrainingState

__all__ = ["Bench", "Model", "bench", "differing"]


class Model(nn.Module):
    def __init__(self, *, recurrent: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.gru = nn.GRU(4, 4) if recurrent else nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.gru(self.norm(self.encoder(x)))
        return self.head(y[0] if isinstance(y, tuple) else y)


class Bench:
    """A training with one good state, as the actions see it."""

    def __init__(self, model: nn.Module | None = None) -> None:
        self.model = model or Model()
        self.optimizer: Optimizer = Adam(self.model.parameters(), lr=0.01)
        names = parameter_names(self.model, self.optimizer)
        self.subject = Subject(self.model, self.optimizer, None, None, {}, names)
        self.good: TrainingState | None = None
        self.data_can_go_back = True
        self.blamed_module: str | None = None
        self.restores: list[DataAfterReload] = []
        self.seeds = 0
        self.by_trainer: dict[str, float] = {}
        self.drawn_by_trainer: list[float] = []

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.optimizer.zero_grad()
            self.model(torch.randn(5, 3)).square().sum().backward()
            self.optimizer.step()

    @property
    def any_good_state(self) -> bool:
        return self.good is not None

    def restore_good_state(self, data: DataAfterReload) -> Restored:
        self.restores.append(data)
        if self.good is None:
            raise ActionError("no good state could be restored")
        self.subject.restore(self.good)
        return Restored(7, "memory")

    def next_draw_seed(self) -> int:
        self.seeds += 1
        return self.seeds

    def reset_by_trainer(self, name: str, module: nn.Module, generator: torch.Generator) -> bool:
        if name not in self.by_trainer:
            return False
        self.drawn_by_trainer.append(torch.rand((), generator=generator).item())
        for parameter in module.parameters():
            nn.init.constant_(parameter, self.by_trainer[name])
        return True

    def everything(self) -> dict[str, Any]:
        return copy.deepcopy(
            {
                "model": dict(self.model.state_dict()),
                "optimizer": {name: self.optimizer.state.get(p, None) for name, p in self.model.named_parameters()},
                "torch": torch.get_rng_state(),
                "numpy": repr(np.random.get_state(legacy=True)),
                "python": random.getstate(),
            }
        )


def bench(model: nn.Module | None = None) -> Bench:
    """Two steps to the good state, and two further ones that end badly."""
    held = Bench(model)
    held.step(2)
    held.good = held.subject.capture()
    held.step(2)
    with torch.no_grad():
        for parameter in held.model.parameters():
            parameter.fill_(float("nan"))
    for state in held.optimizer.state.values():
        state["exp_avg_sq"].fill_(float("nan"))
    return held


def differing(a: dict[str, Any], b: dict[str, Any]) -> set[str]:
    """Names of the parameters and buffers that are not bit for bit the same."""
    return {name for name in a["model"] if not torch.equal(a["model"][name], b["model"][name])}
