"""A stretch of odd updates: what is kept of those that are left out."""

from __future__ import annotations

from supervisor.experiments.stretch import KEPT, Stretch


def test_it_begins_with_nothing_accepted_and_nothing_left_out() -> None:
    stretch = Stretch((), None)
    assert (stretch.accepted, stretch.skipping, stretch.left_out, stretch.skipped) == ([], False, 0, [])


def test_all_that_are_left_out_count_and_the_newest_batches_are_kept() -> None:
    stretch = Stretch((), None)
    for number in range(KEPT + 5):
        stretch.leave_out((number, "label"))
    assert stretch.left_out == KEPT + 5
    assert stretch.skipped == [(number, "label") for number in range(5, KEPT + 5)]


def test_each_has_its_own_account() -> None:
    one, other = Stretch((), None), Stretch((), None)
    one.leave_out(("batch",))
    assert (other.left_out, other.skipped, other.accepted is one.accepted) == (0, [], False)
