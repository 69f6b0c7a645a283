"""Every kind of model, parameter and optimizer: untouched when healthy, a fault discarded, a good state put back."""

from __future__ import annotations

from typing import Any

import pytest
from support.exact import assert_finite, assert_same, everything
from support.kinds import KINDS, batches, kind, plain_steps, spoilt
from support.training import EventList, Training, guard_of, quiet
from torch import Tensor

BATCHES = batches(12)
AT = 7


class Spoilt:
    """Batch number `AT` is bad; what everything was before it is kept."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.before: dict[str, Any] = {}

    def loss(self, batch: Any) -> Tensor:
        if batch is BATCHES[AT]:
            self.before = everything(self.training)
            return self.training.loss(spoilt(batch))
        return self.training.loss(batch)


@pytest.mark.parametrize("name", KINDS)
def test_a_healthy_run_is_untouched(name: str) -> None:
    expected, found = kind(name), kind(name)
    plain_steps(expected, BATCHES)
    end = everything(expected)
    kind(name)
    policy = quiet(detect={"state_every_steps": 2}, snapshot={"every_steps": 3}, probation_steps=2)
    summary = guard_of(found, BATCHES, policy=policy).run(len(BATCHES))
    assert (summary.applied_steps, summary.incidents) == (len(BATCHES), 0)
    assert_same(everything(found), end)


@pytest.mark.parametrize("name", KINDS)
def test_a_fault_is_discarded_bit_for_bit(name: str) -> None:
    training = kind(name)
    faulty = Spoilt(training)
    guard = guard_of(training, BATCHES, loss=faulty.loss)
    for number, batch in enumerate(guard.batches(len(BATCHES))):
        outcome = guard.step(batch)
        assert outcome.applied is (number != AT)
        if number == AT:
            assert outcome.action == "skip_batch"
            assert_same(everything(training), faulty.before)
    assert_finite(training)


@pytest.mark.parametrize("name", KINDS)
def test_a_reload_puts_the_good_state_back(name: str, tmp_path: Any) -> None:
    training, heard = kind(name), EventList()
    faulty = Spoilt(training)
    policy = quiet(
        ladder=[{"action": "reload_checkpoint"}],
        snapshot={"every_steps": 3},
        checkpoint={"every_steps": 3},
        probation_steps=2,
    )
    run = tmp_path / "run"
    guard = guard_of(training, BATCHES, loss=faulty.loss, policy=policy, listeners=[heard], run_dir=run)
    states = []
    for batch in guard.batches(10):
        states.append(everything(training))
        if guard.step(batch).action is not None:
            break
    assert heard.named("action_applied")[0].restored_step == 3
    assert_same(everything(training), states[3])
    # The optimizer has to work with what was put back, and another process with what is on the disk.
    end = guard.run(10)
    assert (end.status, end.skipped_steps) == ("finished", 1)
    guard.close()
    other = kind(name)
    resumed = guard_of(other, BATCHES, policy=policy, run_dir=run, resume=True)
    assert resumed.steps_done == 10
    assert_same(everything(other), everything(training))
    resumed.close()
