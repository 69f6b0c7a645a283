"""A restore point of the run as it stands and in a checkpoint, the memory it is copied into, and the way back to it."""

from __future__ import annotations

from typing import Any

import pytest
from support.exact import assert_same, everything
from support.parts import point_of, policy_of, subject_of, through_a_file
from support.training import Training

from supervisor.policy import DataAfterReload
from supervisor.record.run_ledger import RunLedger
from supervisor.records import Observation
from supervisor.states.restore_points import RestorePoint, RestorePoints, SpareCopies, last_update
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


def test_it_comes_back_from_a_file_with_all_it_holds() -> None:
    trainer = TinyTrainer()
    trainer.loss(trainer.data[0]).backward()  # type: ignore[no-untyped-call]
    trainer.optimizer.step()
    point = RestorePoint(3, 5, 2, 1.25, subject_of(trainer).capture(), {"batch_number": 6, "pending": []})
    back = RestorePoint.from_tree(through_a_file(point.to_tree()))
    assert (back.step, back.update, back.applied_steps, back.useful_seconds) == (3, 5, 2, 1.25)
    assert_same(back.data, point.data)
    assert_same(back.training.to_tree(), point.training.to_tree())
    assert back.training.optimizer["state"]


@pytest.mark.parametrize("missing", ["step", "update", "applied_steps", "useful_seconds", "training", "data"])
def test_one_that_lacks_a_field_is_refused(missing: str) -> None:
    tree = point_of(3).to_tree()
    del tree[missing]
    with pytest.raises(KeyError, match=missing):
        RestorePoint.from_tree(tree)


def test_a_line_of_the_log_belongs_to_the_update_before() -> None:
    assert (last_update(0), last_update(1), last_update(9)) == (None, 0, 8)


def test_there_is_nothing_to_take_until_a_copy_was_let_go() -> None:
    spares, point = SpareCopies(), point_of(1)
    assert spares.take() is None
    spares.hold(point)
    assert spares.take() is None
    spares.let_go(point)
    assert spares.take() is point.training
    assert spares.take() is None


def test_a_copy_with_two_holders_is_given_away_by_the_last_alone() -> None:
    """A snapshot that is a checkpoint too is held in memory, and by the writer until it is on disk."""
    spares, point = SpareCopies(), point_of(1)
    spares.hold(point)
    spares.hold(point)
    spares.let_go(point)
    assert spares.take() is None
    spares.let_go(point)
    assert spares.take() is point.training


def test_of_two_copies_the_one_let_go_last_is_given() -> None:
    spares, points = SpareCopies(), [point_of(1), point_of(2)]
    for point in points:
        spares.hold(point)
    for point in points:
        spares.let_go(point)
    assert spares.take() is points[1].training
    assert spares.take() is None


def test_a_copy_that_was_taken_can_be_held_again() -> None:
    spares, point = SpareCopies(), point_of(1)
    for _ in range(2):
        spares.hold(point)
        assert spares.take() is None
        spares.let_go(point)
        assert spares.take() is point.training
