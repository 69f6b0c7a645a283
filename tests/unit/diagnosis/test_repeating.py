"""A flagged step that is healthy when it is run again."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.parts import BATCHES, Parts
from torch import Tensor, nn

from supervisor.diagnosis.repeating import Repeated, Repeating
from supervisor.diagnosis.replay import Replays


def looked(parts: Parts, *, loss: float = math.nan, most: int = 5) -> tuple[Repeated, int]:
    """What comes of a step that is said to have had this loss, and how many replays it took."""
    attempt = parts.flagged(BATCHES[0])
    assert attempt.observation is not None
    attempt.observation.loss = loss
    replays = Replays(parts.subject, parts.executor, attempt.before, None, attempt.place, most=most)
    first = replays.run(attempt.batches)
    return Repeating(attempt, replays).look(first), replays.done


def test_the_same_loss_needs_no_other_replay() -> None:
    parts = Parts.of()
    found, replays = looked(parts, loss=float(parts.loss(BATCHES[0])))
    assert (found.deterministic, replays) == (True, 1)
    assert found.what.endswith("with the very loss it had: what flagged it has not come again")


def test_two_replays_that_agree() -> None:
    found, replays = looked(Parts.of())
    assert (found.deterministic, found.attributes, replays) == (True, (), 2)
    assert "two replays agree to the bit" in found.what


class Counting(nn.Module):
    """Weights its output by how often it was called, or by what it gave last."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.key = key
        self.calls = 0
        self.last: Tensor | None = None

    def forward(self, x_BF: Tensor) -> Tensor:
        out: Tensor = self.linear(x_BF)
        if self.key == "calls":
            self.calls += 1
            return out * self.calls
        last = out.detach() if self.last is None else self.last
        self.last = out.detach() + last
        return out + last


@pytest.mark.parametrize("key", ["calls", "last"])
def test_an_attribute_with_which_the_loss_changes_is_named(key: str) -> None:
    model = nn.Sequential(Counting(key))
    found, replays = looked(Parts.of(model, lambda batch: model(batch[0]).square().sum()))
    assert (found.deterministic, found.attributes, replays) == (False, (f"0.{key}",), 3)
    assert f"a third is like it once 0.{key} is put back" in found.what
    assert "the loss depends on something that no state holds" in found.what


def test_one_that_changes_nothing_is_not() -> None:
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(Counting("calls"))

    def loss(batch: Any) -> Tensor:
        model[0].calls = 0
        return model(batch[0]).square().sum() * torch.rand((), generator=generator)

    found, _ = looked(Parts.of(model, loss))
    assert (found.deterministic, found.attributes) == (False, ())
    assert found.what.endswith("it draws or reads something that no state holds, or is not deterministic")


def test_no_replay_is_run_that_is_not_left() -> None:
    model = nn.Sequential(Counting("calls"))
    found, replays = looked(Parts.of(model, lambda batch: model(batch[0]).square().sum()), most=2)
    assert (found.deterministic, found.attributes, replays) == (False, (), 2)
