"""Invariant 9: a flagged value never enters a detector's window."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.training import EventList, build, guard_of, healthy_batches, nan_batch
from torch import Tensor

from supervisor import Guard

BATCHES = healthy_batches(60)
SPIKE = {"window_updates": 20, "threshold": 8.0, "warmup_updates": 10}
POLICY = {
    "detect": {"spike": SPIKE, "state_every_steps": 5},
    "reactions": {"divergence": "skip_batch"},
    "experiments": None,
}
DECIDING = {"detect": {"spike": SPIKE, "state_every_steps": 5}, "experiments": {"suspect_score": 20.0}}
"""With experiments, whose canaries have to be sound: the fault lies in the batch, and no healthy one is odd."""


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


@pytest.mark.parametrize("factor", [1e4, 1e30, math.nan, math.inf])
def test_nor_does_a_batch_that_an_experiment_found_to_be_bad(factor: float) -> None:
    training, heard = build(optimizer="sgd_momentum"), EventList()

    def loss(batch: Any) -> Tensor:
        return training.loss(batch[:2]) * batch[2]

    guard = guard_of(training, loss=loss, policy=DECIDING, listeners=[heard])
    bad = range(25, 29)
    expected: list[float] = []
    for number, (x_BF, y_B) in enumerate(BATCHES[:45]):
        before = windows(guard)
        outcome = guard.step((x_BF, y_B, factor if number in bad else 1.0))
        assert outcome.applied is (number not in bad), number
        if outcome.applied:
            expected.append(outcome.loss)
        else:
            assert windows(guard) == before
    assert {event.action for event in heard.named("decision")} == {"skip_batch"}
    assert {event.evidence.blame for event in heard.named("decision") if event.evidence} == {"data"}
    assert windows(guard)["odd_loss"] == expected[-20:]


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


@pytest.mark.parametrize("policy", [POLICY, DECIDING], ids=["counting", "experiments"])
def test_a_reload_takes_the_windows_back_to_those_of_the_state(policy: dict[str, Any]) -> None:
    """They describe the trajectory that is left: what followed that state is not usual for it."""
    training = build()
    guard = guard_of(
        training,
        policy={
            **policy,
            "reactions": {"nonfinite_loss": "reload_checkpoint"},
            "ladder": [{"action": "reload_checkpoint"}],
            "snapshot": {"every_steps": 5},
            "probation_steps": 2,
        },
    )
    seen = [windows(guard)]
    for batch in BATCHES[:18]:
        guard.step(batch)
        seen.append(windows(guard))
    assert guard.step(nan_batch(BATCHES[18])).action == "reload_checkpoint"
    assert guard.steps_done == 15
    assert windows(guard) == seen[15] != seen[18]


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
    # 17 healthy ones; the flagged one, with which the windows go back to those of step 15; 15, 16 and 17 again, which
    # do not count; then 18 and 19.
    assert sizes == [*range(1, 18), 15, 15, 15, 15, 16, 17]
