"""A stretch of odd updates: what is kept of those that are left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.exact import assert_same
from support.examined import Examined
from support.parts import attempt_of

from supervisor.experiments import Canary
from supervisor.experiments.stretch import KEPT, Stretch
from supervisor.headroom import Headroom
from supervisor.training.tree import clone


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


def test_what_was_accepted_is_left_out_as_a_whole_once_it_proves_harmful() -> None:
    stretch = Stretch((), None)
    for number in range(3):
        stretch.accept(attempt_of(number).seen, (number,))
    assert [seen.update for seen in stretch.accepted] == [0, 1, 2]
    stretch.prove_harmful()
    assert (stretch.accepted, stretch.tried, stretch.skipping) == ([], [], True)
    assert (stretch.left_out, stretch.skipped) == (3, [(0,), (1,), (2,)])


@pytest.mark.parametrize("after", [1, 5])
def test_it_is_to_be_asked_after_so_many_and_each_time_they_have_doubled(after: int) -> None:
    stretch, asked = Stretch((), None), []
    for number in range(1, 45):
        stretch.leave_out((number,))
        if stretch.is_to_be_asked(after):
            asked.append(number)
            assert not stretch.is_to_be_asked(after)
    assert asked == [after * 2**power for power in range(6) if after * 2**power < 45]


class TestCheckpoint:
    def stretch(self) -> tuple[Stretch, list[Canary]]:
        setting = Examined()
        canaries = list(setting.examining.usable())
        stretch = Stretch(tuple(canaries[1:]), setting.pin())
        for number in range(3):
            stretch.accept(attempt_of(number).seen, ((torch.full((2,), float(number)),),))
        room = Headroom({"w": 2.0}, {}, 1.5, "w", 1000.0)
        stretch.accepted[1] = replace(stretch.accepted[1], weight_norms={"w": 3.0}, headroom=room)
        stretch.extreme, stretch.harmed = True, 2
        return stretch, canaries

    def test_it_comes_back_whole(self) -> None:
        stretch, canaries = self.stretch()
        back = Stretch.from_state(stretch.state_dict(), canaries)
        assert back.canaries == stretch.canaries
        assert back.pin is not None
        assert stretch.pin is not None
        assert_same(back.pin.to_tree(), stretch.pin.to_tree())
        assert back.accepted == stretch.accepted
        assert_same(back.tried, stretch.tried)
        assert (back.extreme, back.harmed, back.skipping) == (True, 2, False)
        stretch.prove_harmful()
        assert stretch.is_to_be_asked(3)
        back = Stretch.from_state(stretch.state_dict(), canaries)
        assert_same(back.skipped, stretch.skipped)
        assert (back.left_out, back.asked_at, back.skipping, back.accepted) == (3, 3, True, [])

    def test_the_pin_in_it_is_a_copy_for_its_memory_is_used_again_while_a_checkpoint_is_written(self) -> None:
        stretch, _ = self.stretch()
        state, pin = stretch.state_dict(), stretch.pin
        assert pin is not None
        before = clone(pin.parameters)
        for tensor in pin.parameters.values():
            tensor.add_(1.0)
        assert_same(state["pin"]["parameters"], before)

    def test_batches_that_no_checkpoint_gives_back_still_count(self) -> None:
        stretch = Stretch((), None)
        for number in range(3):
            stretch.accept(attempt_of(number).seen, (object(),))
        back = Stretch.from_state(stretch.state_dict(), ())
        assert (len(back.accepted), back.tried) == (3, [])
        back.prove_harmful()
        assert back.left_out == 3
