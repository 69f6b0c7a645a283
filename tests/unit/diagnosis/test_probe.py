"""The cheapest look: a NaN that goes into a module and comes out of it."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch
from support.parts import BATCHES, PLACE, Parts
from torch import Tensor, nn

from supervisor.diagnosis.probe import Probe
from supervisor.testing.tiny import with_nan


class Spy(nn.Module):
    """Counts its calls and gives on what it is given, or what it is told to."""

    def __init__(self, gives: float | None = None) -> None:
        super().__init__()
        self.gives = gives
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x if self.gives is None else torch.full_like(x, self.gives)


def probed(model: nn.Module, value: float) -> str | None:
    probe = Probe(model)
    ended = True
    with contextlib.suppress(Exception), probe.watching():
        model(torch.full((1, 2), value))
        ended = False
    assert ended is (probe.module is not None)
    found, probe.module = probe.module, None
    # No hook of its own is left, or this would raise and name a module.
    model(torch.full((1, 2), math.nan))
    assert probe.module is None
    return found


def test_the_first_module_that_gives_a_nan_on_is_named_and_no_other_is_reached() -> None:
    first, second = Spy(), Spy()
    assert probed(nn.Sequential(first, second), math.nan) == "0"
    # Each is called once more, when nobody watches.
    assert (first.calls, second.calls) == (2, 1)


def test_a_module_that_swallows_it_is_passed_over() -> None:
    assert probed(nn.Sequential(Spy(0.0), Spy()), math.nan) is None


@pytest.mark.parametrize("value", [1.0, math.inf])
def test_a_nan_that_is_made_inside_is_not_the_batchs(value: float) -> None:
    maker = Spy(math.nan)
    assert probed(nn.Sequential(maker), value) is None
    assert maker.calls == 2


def test_the_innermost_module_is_the_one_that_is_named() -> None:
    assert probed(nn.Sequential(nn.Sequential(nn.Linear(2, 2))), math.nan) == "0.0"


def test_a_keyword_counts_as_well() -> None:
    model = Spy()
    probe = Probe(model)
    with contextlib.suppress(Exception), probe.watching():
        model(x=torch.tensor([math.nan]))
    assert probe.module == ""


def test_the_loss_function_stays_what_it_is() -> None:
    def compute(batch: Tensor) -> Tensor:
        return batch

    assert Probe(Spy()).loss(compute) is compute


def test_the_replay_that_it_ends_is_one_that_raised() -> None:
    parts = Parts.of()
    probe = Probe(parts.model)
    with probe.watching():
        seen = parts.executor.replay([with_nan(BATCHES[0])], PLACE, probe.loss)
    assert seen.exception is not None
    assert probe.module == "inner"
