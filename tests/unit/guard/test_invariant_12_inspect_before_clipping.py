"""Invariant 12: gradients are inspected before anything clips them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.exact import assert_finite
from support.training import Training, build, guard_of, healthy_batches, quiet
from torch import Tensor

BATCHES = healthy_batches(12)


def with_gradient(training: Training, change: Any) -> Any:
    def loss(batch: Any) -> Tensor:
        value = training.loss(batch)
        if batch is not BATCHES[5]:
            return value
        weight = training.model.outer.weight  # type: ignore[union-attr]

        def hook(gradient: Tensor) -> Tensor:
            handle.remove()
            changed: Tensor = change(gradient.clone())
            return changed

        handle = weight.register_hook(hook)
        return value

    return loss


def one(value: float) -> Any:
    def change(gradient: Tensor) -> Tensor:
        gradient.view(-1)[0] = value
        return gradient

    return change


CASES = {
    "nan": (one(math.nan), "nonfinite_gradient"),
    "inf": (one(math.inf), "nonfinite_gradient"),
    "overflow": (lambda gradient: gradient / gradient.abs().max() * 1e30, "gradient_overflow"),
}


@pytest.mark.parametrize("case", CASES)
def test_clipping_neither_spreads_nor_hides_a_bad_gradient(case: str) -> None:
    change, expected = CASES[case]
    training = build()
    seen: list[float] = []
    guard = guard_of(
        training,
        BATCHES,
        loss=with_gradient(training, change),
        policy=quiet(gradient_clip={"max_norm": 1.0}),
        on_gradients=seen.append,
    )
    outcomes = [guard.step(batch) for batch in guard.batches(len(BATCHES))]
    signal = outcomes[5].signals[0]
    assert str(signal.name) == expected
    assert not outcomes[5].applied
    # What is named is the one parameter at fault: after clipping it would be all of them, or none.
    if case != "overflow":
        assert tuple(signal.details["tensors"]) == ("outer.weight",)  # type: ignore[arg-type]
        assert not math.isfinite(float(signal.details["grad_norm"]))  # type: ignore[arg-type]
    else:
        assert signal.details["max_abs"] == pytest.approx(1e30)
    assert len(seen) == len(BATCHES) - 1
    assert all(math.isfinite(norm) for norm in seen)
    assert_finite(training)


def test_a_hook_that_clips_by_itself_comes_after_the_inspection() -> None:
    training = build()

    def clip(total_norm: float) -> None:
        torch.nn.utils.clip_grad_norm_(training.model.parameters(), 1e-3)

    guard = guard_of(training, BATCHES, loss=with_gradient(training, one(math.nan)), on_gradients=clip)
    outcomes = [guard.step(batch) for batch in guard.batches(len(BATCHES))]
    assert [outcome.applied for outcome in outcomes].index(False) == 5
    assert tuple(outcomes[5].signals[0].details["tensors"]) == ("outer.weight",)  # type: ignore[arg-type]


def test_the_norm_that_is_reported_is_the_one_before_clipping() -> None:
    norms = []
    for clip in (None, {"max_norm": 1e-3}):
        training = build()
        guard = guard_of(training, BATCHES, policy=quiet(gradient_clip=clip))
        norms.append(next(guard.step(batch).grad_norm for batch in guard.batches(1)))
    assert norms[0] == norms[1]
    assert norms[0] > 1e-2


def test_a_hook_that_writes_nan_into_the_gradients_is_caught_before_a_state_becomes_good() -> None:
    """The hook comes after the inspection; the weights it ruins are found by the state check and undone."""
    training = build()

    def ruin(total_norm: float) -> None:
        if guard.steps_done == 5:
            next(training.model.parameters()).grad.fill_(math.nan)  # type: ignore[union-attr]

    guard = guard_of(training, BATCHES, on_gradients=ruin, policy=quiet(detect={"state_every_steps": 4}))
    first_bad = None
    for batch in guard.batches(20):
        outcome = guard.step(batch)
        if first_bad is None and not outcome.applied:
            first_bad = outcome
            break
    assert first_bad is not None
    assert str(first_bad.signals[0].name) in {"nonfinite_optimizer_state", "nonfinite_parameter"}
    assert first_bad.action == "reload_checkpoint"
    assert_finite(training)
