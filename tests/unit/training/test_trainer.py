"""What a trainer and what has a state look like."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from torch.optim import SGD

from energy_flow.energy_trainer import EnergyTrainer
from supervisor.testing.tiny import TinyTrainer
from supervisor.training.trainer import Stateful, Trainer


@pytest.mark.parametrize("kind", [TinyTrainer, EnergyTrainer])
def test_the_trainers_here_offer_what_the_protocol_asks(kind: Any) -> None:
    trainer = kind.from_config({}, seed=3)
    for name in Trainer.__annotations__:
        assert hasattr(trainer, name), name
    loss = trainer.loss(next(iter(trainer.data)))
    assert loss.dim() == 0
    assert loss.requires_grad


class Half:
    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("thing", "expected"),
    [(nn.Linear(1, 1), True), (SGD(nn.Linear(1, 1).parameters(), lr=0.1), True), (Half(), False), ([], False)],
    ids=["module", "optimizer", "half", "list"],
)
def test_a_state_has_to_be_taken_and_put_back(thing: Any, expected: bool) -> None:
    assert isinstance(thing, Stateful) is expected
