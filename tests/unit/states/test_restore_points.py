"""A restore point of the run as it stands, and the way back to it."""

from __future__ import annotations

from typing import Any

import pytest
from support.exact import assert_same, everything
from support.parts import policy_of, subject_of
from support.training import Training

from supervisor.policy import DataAfterReload
from supervisor.record.run_ledger import RunLedger
from supervisor.records import Observation
from supervisor.states.restore_points import RestorePoints
from supervisor.states.spare_copies import SpareCopies
from supervisor.testing.clock import FakeClock
from supervisor.testing.tiny import TinyTrainer
from supervisor.training.data_cursor import DataCursor


class Run:
    """A loop of one's own around the restore points."""

    def __init__(self, data: Any = None) -> None:
        self.trainer = TinyTrainer(batches=8)
        self.clock = FakeClock()
        self.cursor = DataCursor(self.trainer.data if data is None else data)
        self.ledger = RunLedger(policy_of(), self.clock)
        self.points = RestorePoints(subject_of(self.trainer), self.cursor, self.ledger, SpareCopies())
        self.replayed: list[bool] = []

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            batch = self.cursor.next()
            place = self.ledger.begin(self.cursor.batch_number)
            self.replayed.append(place.replayed)
            loss = self.trainer.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            self.trainer.optimizer.step()
            self.trainer.optimizer.zero_grad()
            self.clock.advance(2.0)
            self.ledger.applied(Observation(place.step, place.update, float(loss.detach()), 1.0, replayed=True))
            self.ledger.spent_since(self.clock.monotonic() - 2.0)

    def everything(self) -> Any:
        return everything(Training(self.trainer.model, self.trainer.optimizer, None, self.trainer.loss))


def test_a_point_holds_the_place_of_the_run_and_shares_nothing_with_it() -> None:
    run = Run()
    run.step(3)
    run.ledger.used_up()
    point, before = run.points.take(), run.everything()
    assert (point.step, point.update, point.applied_steps, point.useful_seconds) == (4, 3, 3, 6.0)
    assert point.data["batch_number"] == 3
    run.step(2)
    run.points.go_back(point, DataAfterReload.ADVANCE)
    assert_same(run.everything(), before)


def test_it_is_taken_into_the_memory_of_a_copy_that_nobody_needs() -> None:
    run = Run()
    run.step()
    first = run.points.take()
    address = first.training.parameters["inner.weight"].data_ptr()
    run.points.spares.hold(first)
    run.points.spares.let_go(first)
    run.step()
    second = run.points.take()
    assert second.training.parameters["inner.weight"].data_ptr() == address
    assert_same(second.training.parameters, dict(run.trainer.model.named_parameters()))
    assert run.points.take().training.parameters["inner.weight"].data_ptr() != address


def test_under_advance_the_data_go_on_and_updates_are_counted_on() -> None:
    run = Run()
    run.step(2)
    point = run.points.take()
    run.step(3)
    assert run.points.go_back(point, DataAfterReload.ADVANCE) == 0
    counters = run.ledger.counters
    assert (counters.step, counters.applied_steps, counters.useful_seconds, counters.update) == (2, 2, 4.0, 5)
    assert run.cursor.batch_number == 5
    assert run.cursor.next() is run.trainer.data[5]
    assert not run.ledger.begin(run.cursor.batch_number).replayed


def test_under_replay_the_same_batches_come_again_and_count_as_such() -> None:
    run = Run()
    run.step(2)
    point = run.points.take()
    run.step(3)
    assert run.points.go_back(point, DataAfterReload.REPLAY) == 3
    assert run.cursor.batch_number == 2
    run.step(4)
    assert run.replayed == [False] * 5 + [True] * 3 + [False]
    assert run.ledger.counters.update == 9


def test_a_reload_within_a_replay_does_not_shorten_it() -> None:
    run = Run()
    first = run.points.take()
    run.step(5)
    run.points.go_back(first, DataAfterReload.REPLAY)
    run.step(2)
    assert run.points.go_back(first, DataAfterReload.REPLAY) == 5
    run.step(6)
    assert run.replayed[7:] == [True] * 5 + [False]


def test_what_is_left_of_a_replay_is_told_when_the_data_go_on() -> None:
    run = Run()
    first = run.points.take()
    run.step(5)
    run.points.go_back(first, DataAfterReload.REPLAY)
    run.step(2)
    assert run.points.go_back(first, DataAfterReload.ADVANCE) == 3


@pytest.mark.parametrize("kind", ["iterator", "list"])
def test_data_that_cannot_go_back_go_on(kind: str) -> None:
    batches = TinyTrainer(batches=8).data
    run = Run(iter(batches) if kind == "iterator" else batches)
    first = run.points.take()
    run.step(3)
    coming = run.points.go_back(first, DataAfterReload.REPLAY)
    assert (coming, run.cursor.batch_number) == ((0, 3) if kind == "iterator" else (3, 0))
