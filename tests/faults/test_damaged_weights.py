"""Acceptance: damage of the weights that no batch explains goes back to a good state at once, at the same rate."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.digits import digits_training, train_rows
from support.training import EventList, Training
from torch import Tensor

from supervisor import Guard

IMAGES, LABELS = train_rows()


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    rows = (torch.randint(0, len(LABELS), (32,), generator=generator) for _ in range(count))
    return [(IMAGES[index], LABELS[index]) for index in rows]


def guarded(training: Training, heard: EventList, **policy: Any) -> Guard:
    """Without experiments, what the watch on weights finds is answered at once."""
    policy.setdefault("experiments", None)
    return Guard(
        model=training.model, optimizer=training.optimizer, loss=training.loss, policy=policy, listeners=[heard]
    )


def shrink(training: Training, factor: float) -> None:
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.mul_(factor)


def norm(training: Training) -> float:
    return math.sqrt(sum(float(p.detach().square().sum()) for p in training.model.parameters()))


@pytest.mark.parametrize("at", [60, 133, 187])
@pytest.mark.parametrize("factor", [0.5**0.1, 0.5], ids=["halved over ten steps", "halved by each of ten steps"])
def test_weights_that_shrink_are_found_and_put_back(factor: float, at: int) -> None:
    training, heard = digits_training(lr=1e-3), EventList()
    guard = guarded(training, heard)
    found: int | None = None
    for number, batch in enumerate(batches(at + 45)):
        if number == at:
            whole = norm(training)
        # The bug ends with what it was part of: a reload leaves it behind.
        if at <= number < at + 10 and found is None:
            shrink(training, factor)
        outcome = guard.step(batch)
        if not outcome.applied:
            assert found is None
            found = number
            assert str(outcome.signals[0].name) == "divergence"
            assert outcome.action == "reload_checkpoint"
            assert norm(training) > 0.85 * whole
    assert found is not None
    assert at <= found < at + 25
    assert guard.summary().lr_scale == 1.0
    assert heard.actions() == ["reload_checkpoint"]
    assert norm(training) > 0.85 * whole


def test_damage_that_is_only_observed_is_logged_and_trained_through() -> None:
    training, heard = digits_training(lr=1e-3), EventList()
    guard = guarded(training, heard, reactions={"divergence": "observe", "loss_spike": "observe"})
    for number, batch in enumerate(batches(100)):
        if 60 <= number < 70:
            shrink(training, 0.5**0.1)
        assert guard.step(batch).applied
    assert {str(event.signal) for event in heard.named("signal")} == {"divergence"}
    assert heard.actions() == []


def test_where_divergence_enters_lower_the_reload_comes_all_the_same() -> None:
    """What the watch finds has reached the weights: to skip the batch would keep the damage."""
    training, heard = digits_training(lr=1e-3), EventList()
    guard = guarded(training, heard, reactions={"divergence": "skip_batch"})
    for number, batch in enumerate(batches(90)):
        if number == 60:
            whole = norm(training)
        if 60 <= number < 70 and not heard.actions():
            shrink(training, 0.5**0.1)
        guard.step(batch)
    assert heard.actions() == ["reload_checkpoint"]
    assert norm(training) > 0.85 * whole


def test_a_spike_that_goes_on_with_the_next_batch_is_undone_at_the_same_rate() -> None:
    training, heard = digits_training(lr=1e-3), EventList()
    guard = guarded(training, heard)
    outcomes = []
    for number, batch in enumerate(batches(160)):
        if number == 130:
            shrink(training, 30.0)
        outcomes.append(guard.step(batch))
    assert [o.applied for o in outcomes[128:133]] == [True, True, False, False, True]
    assert str(outcomes[130].signals[0].name) in ("loss_spike", "gradient_spike")
    assert str(outcomes[131].signals[0].name) == "divergence"
    assert heard.actions() == ["skip_batch", "reload_checkpoint"]
    assert all(outcome.applied for outcome in outcomes[132:])
    assert guard.summary().lr_scale == 1.0


def test_going_back_to_smaller_weights_alarms_nobody() -> None:
    training, heard = digits_training(lr=1e-3), EventList()
    policy = {"detect": {"spike": None, "drift": None}, "reactions": {"nonfinite_loss": "reload_checkpoint"}}
    guard = guarded(training, heard, **policy)
    for number, (images, labels) in enumerate(batches(120)):
        if number < 85:
            shrink(training, 1.05)
        before = norm(training)
        guard.step((images * math.nan if number == 85 else images, labels))
        if number == 85:
            assert norm(training) < 0.7 * before
    assert heard.actions() == ["reload_checkpoint"]
