"""A known batch on a state that was put back: what two losses say, and that trying it leaves no trace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import attempt_of, log_to, point_of, policy_of, subject_of
from support.recorder import Calls, Recorder

from supervisor.records import Observation
from supervisor.states.canary import Canaries, CanaryVerdict
from supervisor.states.good_states import StatesInMemory
from supervisor.states.restore_points import SpareCopies
from supervisor.testing.events import EventList
from supervisor.testing.tiny import TinyTrainer
from supervisor.training.rng import capture_rng
from supervisor.update import Executor

ANSWERED = Observation(7, 9, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Record:
    x: torch.Tensor


class Setting:
    """Canaries with an executor that gives the losses of the script, one a replay, or replays as it is told."""

    def __init__(self, *losses: Any, no_replay: str | None = None, replay: Any = None, **policy: Any) -> None:
        self.trainer, self.heard, self.calls = TinyTrainer(), EventList(), Calls()
        self.subject = subject_of(self.trainer)
        self.memory = StatesInMemory(3, 0, SpareCopies())
        self.losses = iter(losses)
        executor: Any = Recorder(Executor, "executor", self.calls, no_replay=no_replay, replay=replay or self.replay)
        self.canaries = Canaries(policy_of(**policy), self.subject, executor, self.memory, log_to(self.heard))

    def replay(self, batches: Any, place: Any, watch: Any = None) -> Observation:
        """A replay moves what a forward pass moves."""
        self.trainer.loss(batches[0])
        torch.rand(1)
        loss = next(self.losses)
        if isinstance(loss, str):
            return Observation(place.step, place.update, math.nan, math.nan, exception=loss)
        if isinstance(loss, BaseException):
            raise loss
        return Observation(place.step, place.update, loss, 1.0)

    def update(self, update: int, *batches: Any, loss: float = 0.5) -> Any:
        attempt = attempt_of(update, update, *batches, before=self.subject.capture_volatile(), loss=loss)
        self.canaries.begin(attempt)
        return attempt

    def keep(self, update: int, loss: float = 0.5) -> None:
        """A snapshot, and a healthy first update after it."""
        self.memory.remember(point_of(update))
        self.canaries.healthy(self.update(update, self.trainer.data[0], loss=loss))

    def verdict(self, update: int = 4) -> CanaryVerdict | None:
        return self.canaries.try_on(update, update, ANSWERED)


@pytest.mark.parametrize(
    ("losses", "verdict", "replays"),
    [
        ((0.5,), CanaryVerdict.SOUND, 1),
        ((0.75, 0.75), CanaryVerdict.DIFFERENT, 2),
        ((math.nan, math.nan), CanaryVerdict.DIFFERENT, 2),
        ((0.75, 0.25), CanaryVerdict.UNKNOWN, 2),
        ((0.75, 0.5), CanaryVerdict.UNKNOWN, 2),
        ((math.nan, 0.75), CanaryVerdict.UNKNOWN, 2),
        (("RuntimeError: not twice",), CanaryVerdict.UNKNOWN, 1),
        ((0.75, "RuntimeError: not thrice"), CanaryVerdict.UNKNOWN, 2),
        ((MemoryError(),), CanaryVerdict.UNKNOWN, 1),
    ],
)
def test_the_verdict_follows_from_the_losses(losses: Any, verdict: CanaryVerdict, replays: int) -> None:
    setting = Setting(*losses)
    setting.keep(4)
    assert setting.verdict() is verdict
    assert setting.calls == ["executor.replay"] * replays
    (event,) = setting.heard
    assert (event.event, event.verdict, event.restored_step, event.expected_loss) == ("canary", verdict.value, 4, 0.5)
    assert (event.step, event.update) == (7, 9)


def test_trying_it_leaves_no_trace() -> None:
    setting = Setting(0.75, 0.75)
    setting.keep(4)
    torch.rand(3)
    setting.trainer.model.get_buffer("norm.running_mean").fill_(3.0)
    before, rng = setting.subject.capture(), capture_rng()
    setting.verdict()
    assert setting.calls
    assert_same(setting.subject.capture().to_tree(), before.to_tree())
    assert_same(capture_rng(), rng)


def test_it_is_run_from_the_state_it_was_measured_in_as_a_replayed_update_of_its_own_step() -> None:
    seen = []

    def replay(batches: Any, place: Any, watch: Any = None) -> Observation:
        seen.append((float(torch.rand(1)), place.step, place.update, place.replayed))
        return Observation(place.step, place.update, 0.75, 1.0)

    setting = Setting(replay=replay)
    setting.keep(4)
    expected = float(torch.rand(1))
    torch.rand(5)
    setting.verdict()
    assert seen == [(expected, 4, 4, True)] * 2


def test_a_state_without_a_canary_is_not_tried() -> None:
    setting = Setting()
    setting.keep(4)
    assert setting.verdict(8) is None
    assert (setting.calls, setting.heard) == ([], [])


def test_before_any_flagged_update_there_is_no_step_to_name() -> None:
    setting = Setting(0.5)
    setting.keep(4)
    setting.canaries.try_on(4, 4, None)
    assert (setting.heard[0].step, setting.heard[0].update) == (None, None)


def test_the_batches_are_copied_before_the_loss_can_change_them() -> None:
    setting = Setting(0.5)
    setting.memory.remember(point_of(4))
    batch = (torch.zeros(8, 4), torch.zeros(8, dtype=torch.int64))
    attempt = setting.update(4, batch)
    batch[0].fill_(9.0)
    assert torch.equal(attempt.copied_batches[0][0], torch.zeros(8, 4))


def test_the_newest_is_handed_out_as_a_copy() -> None:
    setting = Setting(0.5)
    assert setting.canaries.newest() is None
    setting.keep(4)
    (batch,) = setting.canaries.newest() or ()
    batch[0].fill_(9.0)
    (again,) = setting.canaries.newest() or ()
    assert not torch.equal(again[0], batch[0])


def test_a_batch_that_is_a_dataclass_is_copied_as_one() -> None:
    setting = Setting(0.5)
    setting.memory.remember(point_of(4))
    attempt = setting.update(4, Record(torch.zeros(8, 4)))
    assert type(attempt.copied_batches[0]) is Record
    assert torch.equal(attempt.copied_batches[0].x, torch.zeros(8, 4))


@pytest.mark.parametrize("why", ["not copyable", "no replay", "no diagnosis"])
def test_batches_that_cannot_become_one_are_not_copied(why: str) -> None:
    policy = {"diagnose": {"enabled": False}} if why == "no diagnosis" else {}
    setting = Setting(no_replay="never" if why == "no replay" else None, **policy)
    setting.memory.remember(point_of(4))
    batch = object() if why == "not copyable" else setting.trainer.data[0]
    attempt = setting.update(4, batch)
    assert attempt.copied_batches is None
    assert setting.verdict() is None


def test_a_canary_is_let_go_with_its_snapshot() -> None:
    setting = Setting(0.5, 0.5)
    setting.keep(4)
    setting.keep(8)
    setting.memory.remove(4)
    assert setting.verdict(8) is CanaryVerdict.SOUND
    setting.keep(12)
    assert setting.verdict(4) is None
    assert setting.verdict(8) is CanaryVerdict.SOUND


def test_it_can_be_tried_again_and_the_batch_it_keeps_stays_as_it_was() -> None:
    tried = []

    def replay(batches: Any, place: Any, watch: Any = None) -> Observation:
        tried.append(batches[0][0].clone())
        batches[0][0].zero_()
        return Observation(place.step, place.update, 0.5, 1.0)

    setting = Setting(replay=replay)
    setting.keep(4)
    assert [setting.verdict(), setting.verdict()] == [CanaryVerdict.SOUND] * 2
    assert torch.equal(tried[0], setting.trainer.data[0][0])
    assert torch.equal(tried[1], tried[0])
