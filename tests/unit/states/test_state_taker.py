"""When a state is taken, that none is taken which is not finite, and what a checkpoint carries beside it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import files_no_larger_than
from support.state_run import Run
from torch import nn

from supervisor.errors import InputError
from supervisor.records import Observation
from supervisor.states import CheckpointParts


class TestDue:
    def test_it_is_due_as_the_policy_says(self, tmp_path: Path) -> None:
        taker = Run(tmp_path).taker
        assert [step for step in range(1, 13) if taker.due(step)] == [2, 3, 4, 6, 8, 9, 10, 12]

    def test_without_a_disk_or_without_snapshots_that_half_is_never_due(self, tmp_path: Path) -> None:
        assert [step for step in range(1, 9) if Run().taker.due(step)] == [2, 4, 6, 8]
        taker = Run(tmp_path, snapshot={"keep": 0}).taker
        assert [step for step in range(1, 9) if taker.due(step)] == [3, 6]

    def test_the_state_is_looked_at_before_one_is_taken_and_after_the_last_step(self) -> None:
        taker = Run(snapshot={"every_steps": 5}).taker
        assert [step for step in range(1, 20) if taker.check_due(step)] == [5, 7, 10, 14, 15]
        taker.end = 18
        assert [step for step in range(1, 20) if taker.check_due(step)] == [5, 7, 10, 14, 15, 18]


class TestInitialState:
    def test_it_is_good_at_once_in_both_places_and_on_disk_when_that_returns(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.taker.begin()
        assert (run.in_memory(), run.on_disk()) == ([(0, True)], [(0, True)])

    @pytest.mark.parametrize("where", ["parameter", "buffer", "optimizer", "registered"])
    def test_one_that_is_not_finite_is_refused_by_name(self, where: str, tmp_path: Path) -> None:
        run = Run(tmp_path, note=torch.zeros(2))
        model, optimizer = run.trainer.model, run.trainer.optimizer
        first = next(model.parameters())
        optimizer.state[first]["exp_avg"] = torch.zeros_like(first)
        tensor, name = {
            "parameter": (model.get_parameter("outer.bias").detach(), "outer.bias"),
            "buffer": (model.get_buffer("norm.running_var"), "norm.running_var"),
            "optimizer": (optimizer.state[first]["exp_avg"], "inner.weight.exp_avg"),
            "registered": (run.note.held, "extra_state.note.held"),
        }[where]
        tensor.view(-1)[1] = math.inf
        with pytest.raises(InputError, match=f"{name} not finite before the first step: mend the initial state"):
            run.taker.begin()
        assert (run.in_memory(), run.on_disk()) == ([], [])

    def test_a_state_dict_that_no_checkpoint_can_hold_is_told_at_once(self, tmp_path: Path) -> None:
        run = Run(tmp_path, note=nn.Identity())
        with pytest.raises(InputError, match="held: an Identity cannot stand in a checkpoint"):
            run.taker.begin()
        assert run.on_disk() == []
        # Memory can hold it.
        Run(note=nn.Identity()).taker.begin()


class TestTaking:
    def test_each_place_gets_its_own(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.taker.begin()
        run.step(7)
        assert run.in_memory() == [(2, True), (4, True), (6, True)]
        assert run.on_disk() == [(0, True), (3, True), (6, True)]
        run.step()
        assert run.in_memory()[-1] == (8, False)

    def test_a_checkpoint_holds_the_run_as_it_stood(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.step(3)
        assert run.store is not None
        tree = run.store.load(run.store.committed()[0].path)
        assert (tree["moment"]["step"], tree["moment"]["update"], tree["moment"]["data"]["batch_number"]) == (3, 3, 3)
        assert_same(
            tree["moment"]["training"]["parameters"],
            {name: p.detach() for name, p in run.trainer.model.named_parameters()},
        )
        assert {name: tree[name] for name in ("counters", "engine", "book")} == run.ledger.state_dict()
        assert tree["counters"]["step"] == 3
        assert tree["panel"] == {"held": "a window"}
        assert tree["policy"] == run.policy.model_dump(mode="json")
        assert tree["probation"] == {}

    def test_a_checkpoint_tells_the_probation_of_those_before_it(self, tmp_path: Path) -> None:
        run = Run(tmp_path, checkpoint={"every_steps": 1, "keep": 3}, probation_steps=3)
        run.step(3)
        assert run.store is not None
        assert run.store.load(run.store.committed()[0].path)["probation"] == {1: 2, 2: 1}

    def test_a_state_that_is_not_finite_is_not_taken_unless_it_was_looked_at_already(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.step(1)
        run.poison()
        run.step(5, known_finite=False)
        assert (run.in_memory(), run.on_disk()) == ([], [])
        run.step(6, known_finite=True)
        assert run.in_memory()

    def test_a_disk_that_is_full_leaves_the_snapshots_and_says_so(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.taker.begin()
        with files_no_larger_than(1000):
            run.step(6)
        assert run.on_disk() == [(0, True)]
        assert [kept for kept, _ in run.in_memory()] == [0, 2, 4, 6]
        assert len(run.heard.named("warning")) == 2

    def test_batches_put_back_that_cannot_be_written_are_told(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.step(2)
        run.cursor.put_back([object(), torch.zeros(2)])
        place = run.ledger.begin(2)
        run.ledger.applied(Observation(place.step, place.update, 1.0, 1.0))
        run.taker.take_due(known_finite=True)
        run.states.flush()
        warning = run.heard.named("warning")[0]
        assert warning.message.startswith("batches put back and not used yet: 1 cannot stand in the checkpoint")
        assert (warning.step, warning.update) == (3, 2)
        assert run.store is not None
        (kept,) = run.store.load(run.store.committed()[0].path)["moment"]["data"]["pending"]
        assert torch.equal(kept[0], torch.zeros(2))


class TestCommitting:
    def test_the_present_state_is_on_disk_when_that_returns_and_written_once(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.step(1)
        run.taker.commit(good=True)
        assert run.on_disk() == [(1, True)]
        saved = len(run.heard.named("checkpoint_saved"))
        run.taker.commit()
        assert len(run.heard.named("checkpoint_saved")) == saved == 1
        run.step(1)
        run.taker.commit()
        assert run.on_disk() == [(1, True), (2, False)]
        # Memory holds what is due alone.
        assert run.in_memory() == [(2, False)]

    def test_one_that_is_not_finite_is_never_committed(self, tmp_path: Path) -> None:
        run = Run(tmp_path)
        run.step(1)
        run.poison()
        run.taker.commit(good=True)
        assert run.on_disk() == []
        (warning,) = run.heard.named("warning")
        assert (warning.message, warning.step, warning.update) == (
            "the last state is not finite: no checkpoint of it was written",
            1,
            1,
        )

    def test_without_a_disk_there_is_nothing_to_do(self) -> None:
        run = Run()
        run.step(1)
        run.poison()
        run.taker.commit(good=True)
        assert run.heard == []


class Part:
    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> Any:
        return self.value

    def load_state_dict(self, state: Any) -> None:
        self.value = state


def test_each_part_has_its_own_under_its_name() -> None:
    one, other = Part({"a": 1}), Part([2])
    parts = CheckpointParts(ledger=one, quarantine=other)
    tree = parts.tree()
    assert tree == {"ledger": {"a": 1}, "quarantine": [2]}
    one.value = other.value = None
    parts.load({**tree, "of another version": 3})
    assert (one.value, other.value) == ({"a": 1}, [2])


def test_a_part_that_is_missing_is_told() -> None:
    with pytest.raises(KeyError, match="quarantine"):
        CheckpointParts(ledger=Part(1), quarantine=Part(2)).load({"ledger": 1})
