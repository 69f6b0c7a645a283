"""Invariant 9: a flagged value never enters a detector's window."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.training import build, guard_of, healthy_batches, nan_batch
from torch import Tensor

from supervisor import Guard

BATCHES = healthy_batches(60)
SPIKE = {"window_updates": 20, "threshold": 8.0, "warmup_updates": 10}
POLICY = {"detect": {"spike": SPIKE, "state_every_steps": 5}, "reactions": {"divergence": "skip_batch"}}


def windows(guard: Guard) -> dict[str, list[float]]:
    state = guard.parts.detectors.state_dict()
    return {name: list(held["window"]) for name, held in state.items() if "window" in held}


def spiking(factor: float, at: range) -> Guard:
    training = build(optimizer="sgd_momentum")

    def loss(batch: Any) -> Tensor:
        value = training.loss(batch)
        return value * factor if guard.steps_done in at else value

    guard = guard_of(training, loss=loss, policy=POLICY)
    return guard


@pytest.mark.parametrize("at", [range(25, 26), range(25, 28)], ids=["one", "several"])
@pytest.mark.parametrize("factor", [1e4, 1e30, math.nan, math.inf])
def test_flagged_values_stay_out_of_the_windows(factor: float, at: range) -> None:
    guard = spiking(factor, at)
    expected: list[float] = []
    for number, batch in enumerate(BATCHES[:40]):
        before = windows(guard)
        outcome = guard.step(batch)
        assert outcome.applied is (number not in at), number
        if outcome.applied:
            expected.append(outcome.loss)
        else:
            assert windows(guard) == before
        assert windows(guard)["loss_spike"] == expected[-20:]
    assert all(math.isfinite(value) for window in windows(guard).values() for value in window)


def test_a_long_burst_does_not_become_normal() -> None:
    """Were the spikes learnt from, the window would soon be full of them and the detector blind."""
    policy = {
        **POLICY,
        "ladder": [{"action": "skip_batch", "attempts": 100, "limit": {"uses": 100, "window_updates": 1000}}],
    }
    training = build(optimizer="sgd_momentum")

    def loss(batch: Any) -> Tensor:
        return training.loss(batch) * (1e4 if guard.steps_done >= 20 else 1.0)

    guard = guard_of(training, loss=loss, policy=policy)
    applied = [guard.step(batch).applied for batch in BATCHES]
    assert applied == [True] * 20 + [False] * 40


def test_the_detector_is_not_blind_after_a_nan() -> None:
    guard = spiking(1e4, range(30, 31))
    outcomes = [guard.step(nan_batch(b) if number == 25 else b) for number, b in enumerate(BATCHES[:35])]
    assert [number for number, outcome in enumerate(outcomes) if not outcome.applied] == [25, 30]
    assert {str(signal.name) for signal in outcomes[30].signals} == {"loss_spike", "gradient_spike"}


def test_a_reload_leaves_the_windows_as_they_are() -> None:
    training = build()
    guard = guard_of(
        training,
        policy={
            **POLICY,
            "reactions": {},
            "ladder": [{"action": "reload_checkpoint"}],
            "snapshot": {"every_steps": 5},
            "probation_steps": 2,
        },
    )
    for batch in BATCHES[:18]:
        guard.step(batch)
    before = windows(guard)
    assert guard.step(nan_batch(BATCHES[18])).action == "reload_checkpoint"
    assert windows(guard) == before


def test_replayed_batches_enter_no_window() -> None:
    training = build()
    bad = {17}
    seen: list[int] = []

    def loss(batch: Any) -> Tensor:
        seen.append(guard.batches_drawn - 1)
        value = training.loss(batch)
        if seen[-1] in bad:
            bad.clear()
            return value * math.nan
        return value

    guard = guard_of(
        training,
        BATCHES,
        loss=loss,
        policy={
            **POLICY,
            "reactions": {},
            "diagnose": {"enabled": False},
            "ladder": [{"action": "reload_checkpoint", "data": "replay"}],
            "snapshot": {"every_steps": 5},
            "probation_steps": 2,
        },
    )
    sizes = []
    for batch in guard.batches(20):
        guard.step(batch)
        sizes.append(len(windows(guard)["loss_spike"]))
    assert seen == [*range(18), *range(15, 20)]
    # 17 healthy ones; the flagged one; 15, 16 and 17 again, which do not count; then 18 and 19.
    assert sizes == [*range(1, 18), 17, 17, 17, 17, 18, 19]
