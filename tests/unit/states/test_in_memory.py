"""Snapshots: on probation, good, let go; and their memory, which is never given away while they are held."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.parts import point_of

from supervisor.states.in_memory import StatesInMemory
from supervisor.states.restore_points import SpareCopies


def memory(keep: int = 3, probation_steps: int = 2) -> tuple[StatesInMemory, SpareCopies]:
    spares = SpareCopies()
    return StatesInMemory(keep, probation_steps, spares), spares


def held(states: StatesInMemory) -> list[tuple[int, bool]]:
    return [(kept.update, kept.good) for kept, _ in states]


def test_a_snapshot_is_good_after_its_healthy_steps_in_a_row() -> None:
    states, _ = memory(probation_steps=3)
    states.remember(point_of(5, 7))
    found = []
    for _ in range(2):
        states.healthy_step()
        found += held(states)
    states.flagged_step()
    for _ in range(3):
        states.healthy_step()
        found += held(states)
    assert found == [(7, False)] * 4 + [(7, True)]


def test_a_good_one_stays_good_when_a_step_is_flagged() -> None:
    states, _ = memory()
    states.remember(point_of(0), good=True)
    states.flagged_step()
    assert held(states) == [(0, True)]


def test_without_probation_it_is_good_at_once() -> None:
    states, _ = memory(probation_steps=0)
    states.remember(point_of(5))
    assert held(states) == [(5, True)]


def test_with_none_to_keep_none_is_held() -> None:
    states, spares = memory(keep=0)
    states.remember(point_of(5), good=True)
    assert (held(states), states.updates, states.last_remembered) == ([], (), None)
    assert spares.take() is None


def test_it_knows_them_by_update_oldest_first() -> None:
    states, _ = memory()
    assert states.last_remembered is None
    for step, update in ((2, 2), (4, 5), (3, 9)):
        states.remember(point_of(step, update))
    assert (states.updates, states.last_remembered) == ((2, 5, 9), 9)
    assert [point.step for _, point in states] == [2, 4, 3]


def test_beyond_those_to_keep_the_oldest_good_one_goes_and_its_memory_is_spare() -> None:
    states, spares = memory(keep=2, probation_steps=1)
    points = [point_of(step) for step in range(3)]
    for point in points:
        states.remember(point)
        states.healthy_step()
    assert held(states) == [(1, True), (2, True)]
    assert spares.take() is points[0].training


def test_the_memory_of_a_snapshot_that_the_disk_still_needs_is_not_spare() -> None:
    states, spares = memory()
    point = point_of(3)
    spares.hold(point)
    states.remember(point)
    states.remove(3)
    assert spares.take() is None
    spares.let_go(point)
    assert spares.take() is point.training


def test_a_snapshot_on_probation_drives_no_good_one_out() -> None:
    states, spares = memory(keep=1)
    states.remember(point_of(0), good=True)
    states.remember(point_of(1))
    assert held(states) == [(0, True), (1, False)]
    assert spares.take() is None


def test_one_of_the_same_update_takes_the_place_of_the_first() -> None:
    states, spares = memory()
    first, second = point_of(3), point_of(3)
    states.remember(first)
    states.remember(second, good=True)
    assert held(states) == [(3, True)]
    assert spares.take() is first.training


def test_going_back_leaves_the_good_ones_up_to_that_step() -> None:
    states, _ = memory()
    for step, good in ((0, True), (4, True), (6, False), (8, True)):
        states.remember(point_of(step), good=good)
    states.abandon_after(6)
    assert held(states) == [(0, True), (4, True)]
    states.remove(0)
    assert held(states) == [(4, True)]
    with pytest.raises(KeyError):
        states.remove(0)


VERBS = st.lists(st.sampled_from(["remember", "remember good", "healthy", "flagged", "abandon", "take"]), max_size=60)


@given(keep=st.integers(1, 3), probation=st.integers(0, 3), verbs=VERBS)
def test_whatever_happens_the_newest_good_one_is_held_and_no_held_memory_is_given_away(
    keep: int, probation: int, verbs: list[str]
) -> None:
    states, spares = memory(keep, probation)
    step = update = 0
    # By the rule as it is written: each state with its count of healthy steps, None once it is good.
    waiting: dict[int, int] = {}
    good: list[tuple[int, int]] = []
    for verb in verbs:
        if verb.startswith("remember"):
            step, update = step + 1, update + 1
            at_once = verb == "remember good" or probation == 0
            states.remember(point_of(step, update), good=at_once)
            if at_once:
                good.append((step, update))
            else:
                waiting[update] = 0
        elif verb == "healthy":
            states.healthy_step()
            waiting = {each: count + 1 for each, count in waiting.items()}
            steps = {kept.update: kept.step for kept, _ in states}
            for each in [each for each, count in waiting.items() if count >= probation]:
                del waiting[each]
                if each in steps:
                    good.append((steps[each], each))
        elif verb == "flagged":
            states.flagged_step()
            waiting = dict.fromkeys(waiting, 0)
        elif verb == "abandon" and good:
            step = max(good, key=lambda each: each[1])[0]
            states.abandon_after(step)
            waiting.clear()
            good = [each for each in good if each[0] <= step]
        else:
            _take(states, spares)
        found = [kept.update for kept, _ in states if kept.good]
        newest_first = sorted((each for _, each in good), reverse=True)
        assert sorted(found, reverse=True) == newest_first[:keep]
        assert {kept.update for kept, _ in states if not kept.good} <= set(waiting)
        for kept, point in states:
            assert torch.equal(point.training.parameters["w"], torch.full((3,), float(kept.update)))


def _take(states: StatesInMemory, spares: SpareCopies) -> Any:
    """Write over what is given away, as the next copy does."""
    spare = spares.take()
    if spare is not None:
        spare.parameters["w"].fill_(-1.0)
