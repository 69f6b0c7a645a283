"""Memory that is written over belongs to nobody any more."""

from __future__ import annotations

from support.parts import point_of

from supervisor.states.spare_copies import SpareCopies


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
