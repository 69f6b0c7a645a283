"""The states to go back to, in memory and on disk together."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parts import log_to, point_of, policy_of

from supervisor.checkpoints import CheckpointStore
from supervisor.states.good_states import GoodStates
from supervisor.states.restore_points import RestorePoint
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
    states.flagged_step(4, 4)
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
    states.flagged_step(7, 9)
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
    states.flagged_step(5, 6)
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
    states.flagged_step(7, 7)
    states.abandon_after(4)
    assert newest_first(states) == [(2, 2, "memory"), (2, 2, "disk")]
    assert [event.update for event in heard.named("checkpoint_rejected")] == [7]


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
            states.flagged_step(step, update)
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
