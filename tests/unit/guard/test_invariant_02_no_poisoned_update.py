"""Invariant 2: when a step is flagged, everything is what it was before its batch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.exact import assert_finite, assert_same, everything
from support.training import Net, Training, build, guard_of, healthy_batches, nan_batch
from torch import Tensor, nn

BATCHES = healthy_batches(12)
AT = 6


class Faulty:
    """A training whose batch number `AT` goes wrong in one way."""

    def __init__(self, training: Training, fault: Callable[[Training, Tensor], Tensor | None]) -> None:
        self.training = training
        self._fault = fault
        self.before: dict[str, Any] = {}

    def loss(self, batch: Any) -> Tensor:
        if batch is not BATCHES[AT]:
            return self.training.loss(batch)
        self.before = everything(self.training)
        loss = self.training.loss(batch)
        changed = self._fault(self.training, loss)
        return loss if changed is None else changed


def nan_loss(training: Training, loss: Tensor) -> Tensor:
    return loss * math.nan


def infinite_loss(training: Training, loss: Tensor) -> Tensor:
    return loss + math.inf


def minus_infinite_loss(training: Training, loss: Tensor) -> Tensor:
    return loss - math.inf


def one_gradient_element(value: float) -> Callable[[Training, Tensor], None]:
    def spoil(training: Training, loss: Tensor) -> None:
        weight = training.model.inner.weight  # type: ignore[union-attr]

        def hook(gradient: Tensor) -> Tensor:
            handle.remove()
            changed = gradient.clone()
            changed.view(-1)[3] = value
            return changed

        handle = weight.register_hook(hook)

    return spoil


def overflowed_norm(training: Training, loss: Tensor) -> Tensor:
    return loss * 1e25


def exception_in_loss(training: Training, loss: Tensor) -> Tensor:
    raise RuntimeError("the loss gave up")


def exception_in_backward(training: Training, loss: Tensor) -> None:
    def hook(gradient: Tensor) -> Tensor:
        handle.remove()
        raise ValueError("backward gave up")

    handle = training.model.inner.weight.register_hook(hook)  # type: ignore[union-attr]


def a_loss_with_two_elements(training: Training, loss: Tensor) -> Tensor:
    return torch.stack([loss, loss])


def a_loss_that_is_a_float(training: Training, loss: Tensor) -> Any:
    return float(loss)


def a_loss_that_is_none(training: Training, loss: Tensor) -> Any:
    return loss.detach()


FAULTS: dict[str, tuple[Callable[[Training, Tensor], Tensor | None], str]] = {
    "nan_loss": (nan_loss, "nonfinite_loss"),
    "infinite_loss": (infinite_loss, "nonfinite_loss"),
    "minus_infinite_loss": (minus_infinite_loss, "nonfinite_loss"),
    "nan_gradient_element": (one_gradient_element(math.nan), "nonfinite_gradient"),
    "infinite_gradient_element": (one_gradient_element(math.inf), "nonfinite_gradient"),
    "huge_gradient_element": (one_gradient_element(3e18), "gradient_overflow"),
    "overflowed_norm": (overflowed_norm, "gradient_overflow"),
    "exception_in_loss": (exception_in_loss, "step_exception"),
    "exception_in_backward": (exception_in_backward, "step_exception"),
    "two_elements": (a_loss_with_two_elements, "step_exception"),
    "float": (a_loss_that_is_a_float, "step_exception"),
    "no_graph": (a_loss_that_is_none, "step_exception"),
}


@pytest.mark.parametrize("optimizer", ["sgd_momentum", "adam", "adamw_fused"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_flagged_step_leaves_everything_as_it_was(fault: str, optimizer: str) -> None:
    spoil, signal = FAULTS[fault]
    training = build(optimizer=optimizer, scheduler="cosine", draws=True, average=True)
    faulty = Faulty(training, spoil)
    guard = guard_of(training, BATCHES, loss=faulty.loss)
    for number, batch in enumerate(guard.batches(len(BATCHES))):
        outcome = guard.step(batch)
        assert outcome.applied is (number != AT)
        if number == AT:
            assert signal in [str(found.name) for found in outcome.signals]
            assert outcome.action == "skip_batch"
            assert_same(everything(training), faulty.before)
            assert all(parameter.grad is None for parameter in training.model.parameters())
    assert_finite(training)


def test_signals_name_what_lies_furthest_upstream_first() -> None:
    training = build()
    guard = guard_of(training, BATCHES, loss=Faulty(training, nan_loss).loss)
    outcomes = [guard.step(batch) for batch in guard.batches(AT + 1)]
    assert [str(signal.name) for signal in outcomes[AT].signals] == ["nonfinite_loss", "nonfinite_gradient"]


class Recording(Net):
    """The running statistics see a NaN that the loss does not."""

    spoil = False

    def forward(self, x_BF: Tensor) -> Tensor:
        if self.spoil:
            self.norm(torch.full((4, 16), math.nan))
        logits: Tensor = super().forward(x_BF)
        return logits


@pytest.mark.parametrize("also_loss", [True, False])
def test_running_statistics_that_go_bad_in_the_forward_pass_are_put_back(also_loss: bool) -> None:
    training = build(model=Recording)
    model: Any = training.model

    def spoil(training: Training, loss: Tensor) -> Tensor:
        model.spoil = True
        model(BATCHES[0][0])
        model.spoil = False
        return loss * (math.nan if also_loss else 1.0)

    faulty = Faulty(training, spoil)
    guard = guard_of(training, BATCHES, loss=faulty.loss)
    for number, batch in enumerate(guard.batches(AT + 1)):
        outcome = guard.step(batch)
        if number == AT:
            names = [str(signal.name) for signal in outcome.signals]
            # The statistics were put back with the rest: they are no damage, and the batch alone is at fault.
            assert names == (["nonfinite_loss", "nonfinite_gradient"] if also_loss else ["nonfinite_buffer"])
            assert not outcome.applied
            assert outcome.action == "skip_batch"
            assert_same(everything(training), faulty.before)
    assert_finite(training)


def test_statistics_that_were_bad_before_the_batch_are_damage_and_no_fault_of_the_batch() -> None:
    training = build(model=Recording)
    guard = guard_of(training, BATCHES)
    outcomes = [guard.step(batch) for batch in BATCHES[:AT]]
    training.model.norm.running_var[2] = math.inf  # type: ignore[union-attr,operator,index]
    outcomes.append(guard.step(BATCHES[AT]))
    assert [outcome.applied for outcome in outcomes] == [True] * AT + [False]
    assert [str(signal.name) for signal in outcomes[-1].signals] == ["nonfinite_parameter"]
    assert outcomes[-1].action == "reload_checkpoint"
    assert_finite(training)


def test_a_buffer_that_the_forward_pass_replaces_or_resizes_is_put_back() -> None:
    class Growing(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(0))
            self.register_buffer("last", None)

        def forward(self, x_BF: Tensor) -> Tensor:
            self.seen = torch.cat([self.seen, x_BF.detach()[:1, 0]])
            self.last = x_BF.detach().mean(0)
            logits: Tensor = super().forward(x_BF)
            return logits

    training = build(model=Growing)
    faulty = Faulty(training, nan_loss)
    guard = guard_of(training, BATCHES, loss=faulty.loss)
    for number, batch in enumerate(guard.batches(AT + 1)):
        guard.step(batch)
        if number == AT:
            assert_same(everything(training), faulty.before)
    assert len(training.model.seen) == AT  # type: ignore[arg-type]


def test_an_exception_in_on_gradients_discards_the_update() -> None:
    training = build(scheduler="cosine", draws=True, average=True)
    before: list[dict[str, Any]] = []

    def loss(batch: Any) -> Tensor:
        before.append(everything(training))
        return training.loss(batch)

    def on_gradients(total_norm: float) -> None:
        assert math.isfinite(total_norm)
        random.random(), np.random.rand(), torch.rand(())
        if len(before) == AT + 1:
            raise OSError("the hook gave up")

    guard = guard_of(training, BATCHES, loss=loss, on_gradients=on_gradients)
    outcomes = []
    for number, batch in enumerate(guard.batches(AT + 3)):
        outcomes.append(guard.step(batch))
        if number == AT:
            assert_same(everything(training), before[AT])
    assert [outcome.applied for outcome in outcomes] == [True] * AT + [False, True, True]
    assert str(outcomes[AT].signals[0].name) == "step_exception"


def test_the_whole_accumulated_update_is_discarded() -> None:
    training = build(draws=True, average=True)
    spoilt = [*BATCHES[:3], nan_batch(BATCHES[3]), *BATCHES[4:]]
    guard = guard_of(training, spoilt, accumulate=2)
    states, outcomes = [everything(training)], []
    for pair in guard.batches(4):
        outcomes.append(guard.step(pair))
        states.append(everything(training))
    assert [outcome.applied for outcome in outcomes] == [True, False, True, True]
    assert_same(states[2], states[1])


def test_a_gradient_scaler_alone_does_its_own_back_off() -> None:
    training = build()
    training.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    faulty = Faulty(training, one_gradient_element(math.inf))
    guard = guard_of(training, BATCHES, loss=faulty.loss)
    for number, batch in enumerate(guard.batches(AT + 2)):
        outcome = guard.step(batch)
        if number == AT:
            assert not outcome.applied
            assert outcome.action is None
            assert_same(everything(training), faulty.before, but=["scaler"])
            assert training.scaler.get_scale() == 4.0
    assert guard.summary().incidents == 0


def test_a_scaler_does_not_hide_a_loss_that_is_nan() -> None:
    training = build()
    training.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    faulty = Faulty(training, nan_loss)
    guard = guard_of(training, BATCHES, loss=faulty.loss)
    actions = [guard.step(batch).action for batch in guard.batches(AT + 2)]
    assert actions == [None] * AT + ["skip_batch", None]


def test_half_an_update_is_never_kept_when_the_optimizer_raises() -> None:
    """Where the state was poisoned itself only a reload can help; without one the run halts."""
    training = build(scheduler="cosine")
    real_step, calls = training.optimizer.step, []

    def step(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        result = real_step(*args, **kwargs)
        if len(calls) == AT + 1:
            with torch.no_grad():
                next(training.model.parameters()).fill_(math.nan)
            raise RuntimeError("half way")
        return result

    training.optimizer.step = step  # type: ignore[method-assign]
    initial = everything(training, rng=False)
    guard = guard_of(training, BATCHES)
    outcomes = [guard.step(batch) for batch in guard.batches(1)]
    for batch in BATCHES[1 : AT + 1]:
        outcomes.append(guard.step(batch))
    assert outcomes[-1].action == "reload_checkpoint"
    assert_same(everything(training, rng=False), initial)
    assert_finite(training)


def test_a_frozen_parameter_and_one_without_a_gradient_are_no_trouble() -> None:
    class Partly(Net):
        def __init__(self) -> None:
            super().__init__()
            self.inner.requires_grad_(False)
            self.unused = nn.Linear(2, 2)

    training = build(model=Partly)
    guard = guard_of(training, BATCHES, loss=Faulty(training, nan_loss).loss)
    outcomes = [guard.step(batch) for batch in guard.batches(len(BATCHES))]
    assert [outcome.applied for outcome in outcomes].count(False) == 1
