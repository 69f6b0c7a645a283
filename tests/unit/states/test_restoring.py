"""Going back to the newest good state, past those that prove bad."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from support.exact import assert_same, differences
from support.parts import check_of, log_to, policy_of, subject_of
from support.recorder import Calls, Recorder

from supervisor.errors import ActionError
from supervisor.policy import DataAfterReload
from supervisor.record.run_ledger import RunLedger
from supervisor.records import Observation
from supervisor.states import Canaries, GoodStates, RestorePoints, Restoring
from supervisor.states.canary import CanaryVerdict
from supervisor.states.restore_points import RestorePoint
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.testing.tiny import TinyTrainer
from supervisor.training.data_cursor import DataCursor
from supervisor.training.state import TrainingState

SOUND, DIFFERENT, UNKNOWN = CanaryVerdict.SOUND, CanaryVerdict.DIFFERENT, CanaryVerdict.UNKNOWN
ANSWERED = Observation(9, 9, math.nan, math.nan)


class Setting:
    """Good states in memory after 0, 2, 4 and 6 steps, and a run that went on to step 8."""

    def __init__(self, verdicts: Mapping[int, CanaryVerdict] | None = None) -> None:
        self.trainer, self.heard, self.calls = TinyTrainer(), EventList(), Calls()
        self.verdicts = verdicts or {}
        self.subject = subject_of(self.trainer)
        self.cursor = DataCursor(self.trainer.data)
        self.ledger = RunLedger(policy_of(), FakeClock())
        self.states = GoodStates(policy_of(snapshot={"keep": 9}), None, log_to(self.heard))
        points = RestorePoints(self.subject, self.cursor, self.ledger, self.states.spares)
        canaries: Any = Recorder(Canaries, "canaries", self.calls, try_on=self.try_on)
        self.restoring = Restoring(self.states, points, check_of(self.subject), canaries)
        self.then: dict[int, TrainingState] = {}
        for step in range(8):
            if step % 2 == 0:
                self.states.memory.remember(points.take(), good=True)
                self.then[step] = self.subject.capture()
            self.step()

    def step(self) -> None:
        batch = self.cursor.next()
        place = self.ledger.begin(self.cursor.batch_number)
        self.trainer.loss(batch).backward()  # type: ignore[no-untyped-call]
        self.trainer.optimizer.step()
        self.trainer.optimizer.zero_grad()
        self.ledger.applied(Observation(place.step, place.update, 1.0, 1.0))

    def try_on(self, update: int, step: int, observation: Any) -> CanaryVerdict | None:
        """A batch that is tried moves the running statistics."""
        self.trainer.loss(self.trainer.data[0])
        return self.verdicts.get(step)

    def restore(self, data: DataAfterReload = DataAfterReload.ADVANCE) -> Any:
        return self.restoring.restore(data, ANSWERED)

    def snapshot(self, step: int) -> RestorePoint:
        return next(point for _, point in self.states.memory if point.step == step)

    def tried(self) -> list[int]:
        return [given[1] for given in self.calls.given["canaries.try_on"]]

    def left(self) -> list[int]:
        return [kept.step for kept, _ in self.states.memory]


def test_the_newest_is_put_back_bit_for_bit_whatever_was_tried_on_it() -> None:
    setting = Setting()
    assert differences(setting.subject.capture().to_tree(), setting.then[6].to_tree())
    restored = setting.restore()
    assert (restored.step, restored.source, restored.replayed_batches) == (6, "memory", 0)
    assert_same(setting.subject.capture().to_tree(), setting.then[6].to_tree())
    assert (setting.ledger.counters.step, setting.cursor.batch_number) == (6, 8)
    assert setting.calls.given["canaries.try_on"] == [(6, 6, ANSWERED)]
    assert setting.left() == [0, 2, 4, 6]


def test_the_data_go_back_where_that_is_wanted() -> None:
    setting = Setting()
    assert setting.restore(DataAfterReload.REPLAY).replayed_batches == 2
    assert setting.cursor.batch_number == 6


def test_one_that_is_not_finite_is_rejected_and_the_next_older_one_serves() -> None:
    setting = Setting()
    setting.snapshot(6).training.parameters["outer.bias"][1] = math.nan
    setting.snapshot(4).training.optimizer["state"]["inner.weight"]["exp_avg_sq"][0, 0] = math.inf
    assert setting.restore().step == 2
    assert_same(setting.subject.capture().to_tree(), setting.then[2].to_tree())
    assert setting.left() == [0, 2]
    reasons = [event.message for event in setting.heard.named("warning")]
    assert "non-finite: outer.bias" in reasons[0]
    assert "exp_avg_sq" in reasons[1]
    # Nothing is tried on a state that cannot be used.
    assert setting.tried() == [2]


def test_one_of_another_shape_is_rejected() -> None:
    setting = Setting()
    setting.snapshot(6).training.parameters["outer.bias"] = torch.zeros(7)
    assert setting.restore().step == 4
    assert "outer.bias has shape (7,), not (3,)" in setting.heard.named("warning")[0].message


def test_one_whose_canary_gives_another_loss_is_rejected_where_an_older_one_proves_sound() -> None:
    setting = Setting({6: DIFFERENT, 4: DIFFERENT, 2: SOUND})
    assert setting.restore().step == 2
    assert_same(setting.subject.capture().to_tree(), setting.then[2].to_tree())
    assert setting.left() == [0, 2]
    assert len(setting.heard.named("warning")) == 2
    assert "a batch that was healthy on it gives another loss" in setting.heard.named("warning")[0].message


@pytest.mark.parametrize("older", [{}, {4: UNKNOWN}, {4: DIFFERENT, 2: DIFFERENT, 0: DIFFERENT}])
def test_where_none_proves_sound_the_newest_is_as_good_as_any(older: Any) -> None:
    setting = Setting({6: DIFFERENT, **older})
    assert setting.restore().step == 6
    assert_same(setting.subject.capture().to_tree(), setting.then[6].to_tree())
    assert setting.tried() == [6, 4, 2, 0]
    assert setting.heard == []
    assert setting.left() == [0, 2, 4, 6]


@pytest.mark.parametrize("verdict", [UNKNOWN, SOUND])
def test_a_canary_that_proves_nothing_sends_nobody_further_back(verdict: CanaryVerdict) -> None:
    setting = Setting({6: verdict})
    assert setting.restore().step == 6
    assert setting.tried() == [6]


def test_the_states_beyond_the_one_gone_back_to_are_let_go() -> None:
    setting = Setting({6: DIFFERENT, 4: SOUND})
    setting.states.memory.remember(setting.restoring.points.take())
    setting.restore()
    assert setting.left() == [0, 2, 4]
    assert setting.restoring.any_good


def test_without_any_that_can_be_used_the_action_fails() -> None:
    setting = Setting()
    before = setting.subject.capture()
    for step in (0, 2, 4, 6):
        setting.snapshot(step).training.parameters["outer.bias"][0] = -math.inf
    assert setting.restoring.any_good
    with pytest.raises(ActionError, match="no good state could be restored"):
        setting.restore()
    assert not setting.restoring.any_good
    assert_same(setting.subject.capture().to_tree(), before.to_tree())
