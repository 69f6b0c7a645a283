"""A process of the data loader that dies: no batch is at fault, and no update is half done."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

import pytest
import torch
from support.exact import assert_same
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from supervisor.guard import Guard
from supervisor.testing.tiny import TinyTrainer, tiny_batches
from supervisor.training.loader_errors import is_dead_loader
from supervisor.training.tree import clone


class Struck(TinyTrainer):
    """A training whose loader loses a process in the middle of a step."""

    def __init__(self) -> None:
        super().__init__()
        x, y = (torch.cat(parts) for parts in zip(*tiny_batches(12), strict=True))
        self.loader: Any = DataLoader(TensorDataset(x, y), batch_size=4, num_workers=2)
        self.struck_at = 5
        self.others = multiprocessing.active_children()
        self.calls = 0

    def strike(self, batch: Any) -> Tensor:
        self.calls += 1
        found = self.loss(batch)
        if self.calls == self.struck_at:
            victim = next(each for each in multiprocessing.active_children() if each not in self.others)
            os.kill(victim.pid or 0, signal.SIGKILL)
            os.waitid(os.P_PID, victim.pid or 0, os.WEXITED | os.WNOWAIT)
        return found


@pytest.mark.parametrize("stopping", [False, True])
def test_the_update_is_given_up_and_whoever_runs_the_loop_is_told(stopping: bool) -> None:
    """torch raises in the step itself here; with a stop requested the next batch is not asked for."""
    trainer = Struck()
    guard = Guard(model=trainer.model, optimizer=trainer.optimizer, loss=trainer.strike, data=trainer.loader)
    before: Any = None

    def train() -> None:
        nonlocal before
        for batch in guard.batches(100):
            before = clone(trainer.model.state_dict())
            if trainer.calls + 1 == trainer.struck_at and stopping:
                guard.request_stop()
            guard.step(batch)

    with pytest.raises(RuntimeError) as raised:
        train()
    assert is_dead_loader(raised.value)
    assert guard.steps_done == trainer.struck_at - 1
    assert_same(trainer.model.state_dict(), before)
    assert guard.summary().incidents == 0
