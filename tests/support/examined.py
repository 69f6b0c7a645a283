"""A linear regression that was trained for a while, with its canaries and what tries them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from supervisor.experiments import Examining, PassBudget, RecentCanaries, Tools
from supervisor.experiments.stretch import Stretch
from supervisor.policy import load_policy
from supervisor.records import Signal, SignalName
from supervisor.signals import Detectors
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition
from supervisor.training.state import TrainingState
from supervisor.update import Attempt, Place
from support.parts import Parts, log_to

__all__ = ["Examined", "regression_batches"]

Pair = tuple[Tensor, Tensor]


def regression_batches(count: int = 4, *, of: Callable[[Tensor], Tensor] = lambda x_BF: x_BF) -> list[Pair]:
    """Inputs and noisy targets of one linear map; `of` changes the inputs before the targets are computed."""
    draw = torch.Generator().manual_seed(0)
    weights_FO = torch.randn(4, 1, generator=draw)
    made = []
    for _ in range(count):
        x_BF = of(torch.randn(16, 4, generator=draw))
        made.append((x_BF, x_BF @ weights_FO + 0.5 * torch.randn(16, 1, generator=draw)))
    return made


def _without_the_last(x_BF: Tensor) -> Tensor:
    return torch.cat([x_BF[:, :3], torch.zeros(len(x_BF), 1)], dim=1)


class Examined:
    """Trained on batches whose last feature is 0, so that there is something left to learn beside them.

    Attributes:
        fault: multiplies a loss, or raises; nothing is wrong unless a test sets it.
    """

    def __init__(
        self,
        *,
        warm: int = 96,
        replayed: bool = True,
        drawn: bool = False,
        stopping: Callable[[], bool] = lambda: False,
        **policy: Any,
    ) -> None:
        torch.manual_seed(0)
        self.fault: Callable[[], float] = lambda: 1.0
        self.batches = regression_batches(of=_without_the_last)
        self.model = nn.Linear(4, 1)
        self.parts = Parts.of(
            self.model, self.loss, optimizer=torch.optim.SGD(self.model.parameters(), lr=0.05), replayed=replayed
        )
        self.policy = load_policy({"experiments": {}, **policy})
        self.detectors, self.canaries = Detectors(self.policy), RecentCanaries(4)
        self.heard, self.clock = EventList(), FakeClock()
        self.data = DataCursor(itertools.cycle(self.batches)) if drawn else DataPosition()
        self.budget = PassBudget(0.01)
        tools = Tools(self.parts.subject, self.parts.executor, self.data, log_to(self.heard), self.clock, stopping)
        self.examining = Examining(self.policy, tools, self.detectors, self.canaries, self.budget)
        self.number = 0
        for _ in range(warm):
            self.healthy()

    def loss(self, batch: Pair) -> Tensor:
        """The mean square, unless there is a fault."""
        return nn.functional.mse_loss(self.model(batch[0]), batch[1]) * self.fault()

    def place(self) -> Place:
        """That of the next update."""
        self.number += 1
        return Place(self.number - 1, self.number - 1, False)

    def healthy(self) -> Attempt:
        """One healthy update, taken into windows and canaries, where its number is also its only row."""
        attempt = self.parts.measured(self.batches[self.number % 4], place=self.place())
        self.parts.executor.step_optimizer()
        self.detectors.accept(attempt.seen)
        self.canaries.healthy(attempt, [attempt.place.update])
        return attempt

    def on_trial(self, **details: float) -> Attempt:
        """An odd update that was applied; `details` say what is odd about it."""
        attempt = self.parts.measured(self.batches[0], place=self.place())
        attempt.suspicions = (Signal(SignalName.ODD_UPDATE, details or {"loss": 3.0, "median": 1.0, "score": 4.0}),)
        self.parts.executor.step_optimizer()
        attempt.undone = False
        return attempt

    def stretch(self, *, pinned: bool = True) -> Stretch:
        """One that begins now."""
        return Stretch(self.examining.usable(), self.pin() if pinned else None)

    def pin(self) -> TrainingState:
        """The present state."""
        return self.parts.subject.capture()

    def damage(self, by: float = 2.0) -> None:
        """Move the bias; a canary's loss rises by about the square of it, from 0.25, where 2.5 were learnt."""
        with torch.no_grad():
            self.model.bias.add_(by)
