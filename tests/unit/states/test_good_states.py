"""The states to go back to, in memory and on disk together; memory is never given away while it is held."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parts import log_to, point_of, policy_of

from supervisor.checkpoints import CheckpointStore
from supervisor.states.good_states import GoodStates, StatesInMemory
from supervisor.states.restore_points import RestorePoint, SpareCopies
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList

COUNT = itertools.count()


def states_of(folder: Path | None, heard: EventList | None = None, *, keep: int = 3, probation: int = 2) -> GoodStates:
    store = None if folder is None else CheckpointStore(folder / "checkpoints", "run", FakeClock())
    policy = policy_of(probation_steps=probation, snapshot={"keep": keep}, checkpoint={"keep": max(1, keep)})
    return GoodStates(policy, store, log_to(EventList() if heard is None else heard))


def save(states: GoodStates, point: RestorePoint, **options: Any) -> None:
    assert states.disk is not None
    states.disk.save(point, {"moment": point.to_tree()}, **options)


def newest_first(states: GoodStates) -> list[tuple[int, int, str]]:
    return [(kept.step, kept.update, source) for kept, _, source in states.newest_good()]


def test_without_a_store_memory_is_all_there_is() -> None:
    states = states_of(None)
    assert (states.disk, states.any_good, newest_first(states)) == (None, False, [])
    states.memory.remember(point_of(2))
    assert not states.any_good
    states.healthy_step(2, 2)
    states.healthy_step(3, 3)
    assert states.any_good
    assert newest_first(states) == [(2, 2, "memory")]


def test_a_checkpoint_that_is_still_being_written_counts_once_it_is_there(tmp_path: Path) -> None:
    states = states_of(tmp_path)
    save(states, point_of(2), good=True)
    assert states.any_good
    assert (tmp_path / "checkpoints" / "step-00000002").is_dir()


def test_a_healthy_and_a_flagged_step_count_for_both(tmp_path: Path) -> None:
    states = states_of(tmp_path)
    states.memory.remember(point_of(2))
    save(states, point_of(3))
    states.healthy_step(3, 3)
    states.flagged_step()
    states.healthy_step(5, 5)
    assert newest_first(states) == []
    states.healthy_step(6, 6)
    assert newest_first(states) == [(3, 3, "disk"), (2, 2, "memory")]


def test_the_newest_comes_first_and_memory_before_the_disk(tmp_path: Path) -> None:
    """By step, and within a step by update: weights redrawn on a state are newer than it."""
    states = states_of(tmp_path, keep=9)
    for step, update in ((4, 4), (8, 8), (4, 11)):
        states.memory.remember(point_of(step, update), good=True)
    for step, update in ((0, 0), (8, 8), (6, 6), (4, 12)):
        save(states, point_of(step, update), good=True)
    states.memory.remember(point_of(9, 13))
    assert newest_first(states) == [
        (8, 8, "memory"),
        (8, 8, "disk"),
        (6, 6, "disk"),
        (4, 12, "disk"),
        (4, 11, "memory"),
        (4, 4, "memory"),
        (0, 0, "disk"),
    ]


def test_a_torn_checkpoint_is_reported_under_the_flagged_update_and_passed_over(tmp_path: Path) -> None:
    heard = EventList()
    states = states_of(tmp_path, heard)
    for step in (0, 4):
        save(states, point_of(step), good=True, wait=True)
    torn = tmp_path / "checkpoints" / "step-00000004" / "state.pt"
    torn.write_bytes(torn.read_bytes()[:-1])
    states.answering(7, 9)
    assert newest_first(states) == [(0, 0, "disk")]
    rejected = heard.named("checkpoint_rejected")
    assert [(event.checkpoint_step, event.step, event.update) for event in rejected] == [(4, 7, 9)]


def test_what_is_given_is_the_state_itself(tmp_path: Path) -> None:
    states = states_of(tmp_path)
    states.memory.remember(point_of(4), good=True)
    save(states, point_of(2), good=True)
    for kept, point, _ in states.newest_good():
        assert torch.equal(point.training.parameters["w"], torch.full((3,), float(kept.update)))


def test_a_state_that_proved_bad_is_never_given_again(tmp_path: Path) -> None:
    heard = EventList()
    states = states_of(tmp_path, heard)
    states.memory.remember(point_of(4), good=True)
    save(states, point_of(4), good=True)
    save(states, point_of(2), good=True, wait=True)
    states.answering(5, 6)
    for kept, _, source in states.newest_good():
        if kept.step == 4:
            states.reject(kept, source, f"bad in {source}")
    assert newest_first(states) == [(2, 2, "disk")]
    warning, rejected = heard.named("warning")[0], heard.named("checkpoint_rejected")[0]
    assert (warning.step, warning.update) == (rejected.step, rejected.update) == (5, 6)
    assert "step 4 in memory proved bad (bad in memory)" in warning.message
    assert (rejected.checkpoint_step, rejected.reason) == (4, "bad in disk")


def test_going_back_lets_go_of_what_is_newer_in_both(tmp_path: Path) -> None:
    heard = EventList()
    states = states_of(tmp_path, heard)
    for step in (2, 6):
        states.memory.remember(point_of(step), good=True)
        save(states, point_of(step), good=True)
    states.answering(7, 7)
    states.abandon_after(4)
    assert newest_first(states) == [(2, 2, "memory"), (2, 2, "disk")]
    assert [event.update for event in heard.named("checkpoint_rejected")] == [7]


def test_what_was_taken_after_an_undone_update_is_let_go_of_in_both(tmp_path: Path) -> None:
    """The run has gone back by itself to where update 5 began: what was there before it stays."""
    heard = EventList()
    states = states_of(tmp_path, heard, keep=9, probation=0)
    for step, update in ((2, 3), (4, 5), (5, 6), (6, 8)):
        states.memory.remember(point_of(step, update), good=True)
        save(states, point_of(step, update), good=True)
    states.forget_newer(5, step=7, answered=9)
    assert newest_first(states) == [(4, 5, "memory"), (4, 5, "disk"), (2, 3, "memory"), (2, 3, "disk")]
    assert [kept.update for kept, _ in states.memory] == [3, 5]
    rejected = heard.named("checkpoint_rejected")
    assert sorted(event.checkpoint_step for event in rejected) == [5, 6]
    assert {(event.step, event.update) for event in rejected} == {(7, 9)}


VERBS = st.lists(st.sampled_from(["remember", "save", "both", "healthy", "flagged", "abandon"]), max_size=20)


@settings(max_examples=25)
@given(keep=st.integers(0, 2), probation=st.integers(0, 2), verbs=VERBS)
def test_memory_that_is_written_over_is_never_that_of_a_state_still_held(
    tmp_path_factory: Any, keep: int, probation: int, verbs: list[str]
) -> None:
    """Each copy is taken into the spare memory, as `Subject.capture` does, while the disk may still be writing."""
    states = states_of(tmp_path_factory.mktemp(f"run{next(COUNT)}"), keep=keep, probation=probation)
    assert states.disk is not None
    first = point_of(0)
    states.memory.remember(first, good=True)
    save(states, first, good=True)
    step = update = 0
    for verb in verbs:
        if verb in ("remember", "save", "both"):
            step, update = step + 1, update + 1
            point, spare = point_of(step, update), states.spares.take()
            if spare is not None:
                spare.parameters["w"].fill_(float(update))
                point.training.parameters["w"] = spare.parameters["w"]
            if verb != "save":
                states.memory.remember(point)
            if verb != "remember":
                save(states, point)
        elif verb == "healthy":
            states.healthy_step(step, update)
        elif verb == "flagged":
            states.answering(step, update)
            states.flagged_step()
        else:
            step = next(iter(states.newest_good()))[0].step
            states.abandon_after(step)
        for kept, point in states.memory:
            assert torch.equal(point.training.parameters["w"], torch.full((3,), float(kept.update)))
        assert states.any_good
    states.flush()
    for kept in states.disk:
        loaded = states.disk.load(kept, (None, None))
        assert loaded is not None
        assert torch.equal(loaded.training.parameters["w"], torch.full((3,), float(kept.update)))


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
