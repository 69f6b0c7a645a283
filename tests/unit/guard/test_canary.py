"""State, data or machine: what the first healthy batch after a snapshot says once the snapshot is put back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch, quiet
from torch import Tensor

BATCHES = healthy_batches(24)
BAD = 17
POLICY = quiet(
    ladder=[{"action": "reload_checkpoint"}],
    snapshot={"every_steps": 5},
    probation_steps=1,
    cooldown_steps=2,
)


def spoilt() -> list[Any]:
    return [nan_batch(batch) if number == BAD else batch for number, batch in enumerate(BATCHES)]


def run(training: Training, loss: Any = None, policy: Any = POLICY, damage: Any = None) -> EventList:
    heard = EventList()
    guard = guard_of(training, spoilt(), loss=loss or training.loss, policy=policy, listeners=[heard])
    for number, batch in enumerate(guard.batches(20)):
        if number == BAD and damage is not None:
            damage(guard)
        guard.step(batch)
    return heard


def snapshot(guard: Any, step: int) -> Any:
    """The training state that is held in memory for a step."""
    return next(point.training for kept, point in guard.parts.states.memory if kept.step == step)


def test_a_sound_state_is_proven_and_used() -> None:
    training = build(draws=True, average=True)
    heard = run(training)
    verdicts = [
        (event.restored_step, event.verdict, event.loss == event.expected_loss) for event in heard.named("canary")
    ]
    assert verdicts == [(15, "sound", True)]
    assert [event.restored_step for event in heard.named("action_applied")] == [15]
    # Trying it changes nothing of what comes after.
    other = build(draws=True, average=True)
    run(other, policy={**POLICY, "diagnose": {"enabled": False}})
    assert_same(everything(training), everything(other))


def test_a_damaged_state_is_told_and_an_older_one_proven() -> None:
    """One bit of a weight in the newest snapshot, flipped in memory: finite, and found by nothing else."""

    def flip(guard: Any) -> None:
        snapshot(guard, 15).parameters["inner.weight"].view(torch.int32).view(-1)[7] ^= 1 << 20

    heard = run(build(draws=True), damage=flip)
    assert [(event.restored_step, event.verdict) for event in heard.named("canary")] == [
        (15, "different"),
        (10, "sound"),
    ]
    assert [event.restored_step for event in heard.named("action_applied")] == [10]
    assert "gives another loss" in heard.named("warning")[0].message


def test_a_loss_that_depends_on_what_no_state_holds_sends_nobody_back_for_nothing() -> None:
    training = build()
    calls = [0]

    def loss(batch: Any) -> Tensor:
        calls[0] += 1
        return training.loss(batch) * (1.0 + 0.001 * (guard.steps_done if guard else 0))

    guard: Any = None
    heard = EventList()
    guard = guard_of(training, spoilt(), loss=loss, policy=POLICY, listeners=[heard])
    guard.run(20)
    assert {event.verdict for event in heard.named("canary")} == {"different"}
    assert len(heard.named("canary")) > 1
    assert [event.restored_step for event in heard.named("action_applied")] == [15]


@pytest.mark.parametrize("how", ["not deterministic", "raises"])
def test_a_canary_that_proves_nothing_changes_nothing(how: str) -> None:
    training = build()
    generator = torch.Generator().manual_seed(3)

    def loss(batch: Any) -> Tensor:
        if how == "raises" and guard.updates_attempted == BAD + 1 and not batch[0].isnan().any():
            raise RuntimeError("not twice")
        noise = 1.0 + 0.001 * torch.rand((), generator=generator)
        return training.loss(batch) * (noise if how == "not deterministic" else 1.0)

    heard = EventList()
    guard = guard_of(training, spoilt(), loss=loss, policy=POLICY, listeners=[heard])
    guard.run(20)
    assert [event.verdict for event in heard.named("canary")] == ["unknown"]
    assert [event.restored_step for event in heard.named("action_applied")] == [15]


def test_a_batch_that_the_loss_changes_in_place_is_still_a_canary() -> None:
    training = build()

    def loss(batch: Any) -> Tensor:
        batch[0].tanh_()
        return training.loss(batch)

    heard = EventList()
    batches = [(x.clone(), y) for x, y in spoilt()]
    guard_of(training, batches, loss=loss, policy=POLICY, listeners=[heard]).run(20)
    assert [event.verdict for event in heard.named("canary")] == ["sound"]


def test_a_spoilt_snapshot_that_is_not_finite_is_no_matter_for_a_canary() -> None:
    def poison(guard: Any) -> None:
        snapshot(guard, 15).parameters["inner.weight"].view(-1)[0] = math.nan

    heard = run(build(), damage=poison)
    assert [(event.restored_step, event.verdict) for event in heard.named("canary")] == [(10, "sound")]
