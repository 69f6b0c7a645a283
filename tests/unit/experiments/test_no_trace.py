"""After anything that was computed inside, everything is what it was, bit for bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from support.exact import assert_same, generators
from support.parts import BATCHES, Parts
from support.training import MovingAverage
from torch import Tensor, nn

from supervisor.experiments.no_trace import Surroundings, forward_undone, updates_undone
from supervisor.testing.tiny import TinyNet
from supervisor.training.tree import clone


class Carrying(nn.Module):
    """Carries a hidden state in an attribute, counts in another, draws, and keeps running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.net = TinyNet()
        self.drop = nn.Dropout(0.3)
        self.calls = 0
        self.hidden_B: Tensor = torch.zeros(3)
        self.losses: list[float] = []

    def forward(self, x_BF: Tensor) -> Tensor:
        self.calls += 1
        self.hidden_B = (self.hidden_B + 1).detach()
        self.losses.append(random.random() + float(np.random.rand()))
        logits: Tensor = self.net(self.drop(x_BF))
        return logits


class Setting:
    """A training whose every kind of state a step changes."""

    def __init__(self) -> None:
        self.model = Carrying()
        self.average = MovingAverage(self.model)
        self.parts = Parts.of(self.model, self.loss, extra={"average": self.average})
        for batch in BATCHES[:3]:
            self.parts.applied(batch)
        self.parts.measured(BATCHES[3])

    def loss(self, batch: Any) -> Tensor:
        self.average.follow(self.model)
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def state(self) -> dict[str, Any]:
        captured = self.parts.subject.capture().to_tree()
        return {
            **{name: clone(captured[name]) for name in ("parameters", "buffers", "optimizer", "extra")},
            "rng": generators(),
            "gradients": self.parts.gradients(),
            "modes": [module.training for module in self.model.modules()],
            "attributes": (self.model.calls, self.model.hidden_B.clone(), list(self.model.losses)),
        }


def test_a_step_changes_all_of_it() -> None:
    """So that the tests below mean something."""
    setting = Setting()
    before = setting.state()
    setting.parts.applied(BATCHES[4])
    after = setting.state()
    for name in ("parameters", "buffers", "optimizer", "extra", "rng", "gradients", "attributes"):
        with pytest.raises(AssertionError):
            assert_same(before[name], after[name])


def test_forward_passes_leave_no_trace() -> None:
    setting = Setting()
    before, losses = setting.state(), setting.model.losses
    with forward_undone(setting.parts.subject), torch.no_grad():
        for batch in BATCHES:
            setting.loss(batch)
        setting.model.eval()
        setting.model.added = 1
    assert_same(setting.state(), before)
    assert setting.model.losses is losses
    assert not hasattr(setting.model, "added")


def test_gradients_that_are_there_are_the_same_tensors() -> None:
    setting = Setting()
    held = [parameter.grad for parameter in setting.model.parameters()]
    with forward_undone(setting.parts.subject), torch.no_grad():
        setting.loss(BATCHES[0])
    with updates_undone(setting.parts.subject):
        assert all(parameter.grad is None for parameter in setting.model.parameters())
        setting.parts.applied(BATCHES[0])
    assert all(p.grad is grad for p, grad in zip(setting.model.parameters(), held, strict=True))


def test_whole_updates_leave_no_trace() -> None:
    setting = Setting()
    before = setting.state()
    with updates_undone(setting.parts.subject):
        for batch in BATCHES:
            setting.parts.applied(batch)
        setting.model.eval()
    assert_same(setting.state(), before)


def test_a_training_goes_on_as_if_nothing_had_been() -> None:
    one, other = Setting(), Setting()
    other.parts.subject.restore(one.parts.subject.capture())
    with updates_undone(other.parts.subject):
        for batch in BATCHES:
            other.parts.applied(batch)
    state = one.parts.subject.capture()
    for setting in (one, other):
        setting.parts.subject.restore(state)
        for batch in BATCHES:
            setting.parts.applied(batch)
    assert_same(
        other.parts.subject.capture().to_tree()["parameters"], one.parts.subject.capture().to_tree()["parameters"]
    )


@pytest.mark.parametrize("block", [forward_undone, updates_undone])
def test_neither_does_a_block_that_raises(block: Any) -> None:
    setting = Setting()
    before = setting.state()

    def broken() -> None:
        setting.loss(BATCHES[0])
        setting.model.eval()
        raise KeyError("in the middle")

    with pytest.raises(KeyError), block(setting.parts.subject):
        broken()
    assert_same(setting.state(), before)


def test_each_fork_begins_in_the_same_surroundings() -> None:
    setting = Setting()
    subject = setting.parts.subject
    with updates_undone(subject) as surroundings:
        start, found = subject.capture(), []
        for _ in range(2):
            subject.restore(start)
            surroundings.put_back()
            setting.parts.applied(BATCHES[0])
            found.append(setting.state())
    assert_same(found[1], found[0])


def test_modes_of_each_module_come_back() -> None:
    setting = Setting()
    setting.model.net.norm.eval()
    modes = [module.training for module in setting.model.modules()]
    surroundings = Surroundings(setting.parts.subject)
    setting.model.train()
    surroundings.put_back()
    assert [module.training for module in setting.model.modules()] == modes
