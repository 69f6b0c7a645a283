"""The last healthy batches: kept as they were drawn, with what made their loss, and dropped when they say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.exact import assert_same
from support.parts import BATCHES, Parts, attempt_of, through_a_file
from torch import nn

from supervisor.experiments.canaries import Canary, RecentCanaries, canaries_of, versions_of
from supervisor.testing.tiny import Batch
from supervisor.training.rng import capture_rng
from supervisor.training.state import VolatileState
from supervisor.training.tree import clone


def before() -> VolatileState:
    return VolatileState({}, {}, {}, capture_rng(), ())


def batch(number: int) -> Batch:
    copy: Batch = clone(BATCHES[number])
    return copy


def kept(*numbers: int, keep: int = 4, rows: dict[int, list[int | str]] | None = None) -> RecentCanaries:
    canaries = RecentCanaries(keep)
    for number in numbers:
        attempt = attempt_of(number, number, batch(number % len(BATCHES)), before=before(), loss=float(number))
        canaries.healthy(attempt, (rows or {}).get(number))
    return canaries


def updates(canaries: RecentCanaries) -> list[int]:
    return [canary.update for canary in canaries.usable()]


def test_the_newest_are_kept_with_their_losses() -> None:
    canaries = kept(1, 2, 3, 4, 5)
    assert [(canary.update, canary.loss) for canary in canaries.usable()] == [(2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0)]


def test_none_is_kept_where_none_is_wanted() -> None:
    assert kept(1, 2, keep=0).usable() == ()


def test_a_batch_that_came_again_is_none() -> None:
    canaries = kept(1)
    canaries.healthy(attempt_of(2, 2, batch(2), before=before(), replayed=True))
    assert updates(canaries) == [1]


def test_its_generators_and_its_loss_give_its_loss_again() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)
            self.drop = nn.Dropout(0.5)

        def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.linear(self.drop(x_BF))
            return logits

    parts = Parts.of(Dropping())
    attempt = parts.measured(batch(0))
    canaries = RecentCanaries(2)
    canaries.healthy(attempt)
    (canary,) = canaries.usable()
    torch.rand(5)
    torch.set_rng_state(canary.rng["torch"])
    assert parts.executor.probe(canary.batches, graph=False) == canary.loss == attempt.seen.loss


class TestWrittenTo:
    """A loader that fills the same memory again."""

    def test_a_batch_that_somebody_wrote_to_is_none_any_more(self) -> None:
        canaries = kept(1, 2)
        first, _ = canaries.usable()
        assert first.intact
        first.batches[0][0].add_(1.0)
        assert not first.intact
        assert updates(canaries) == [2]

    def test_its_labels_count_too(self) -> None:
        canaries = kept(1, 2)
        canaries.usable()[0].batches[0][1].zero_()
        assert updates(canaries) == [2]

    def test_and_it_does_not_go_into_a_checkpoint(self) -> None:
        canaries = kept(1, 2)
        canaries.usable()[0].batches[0][0].zero_()
        assert [each["update"] for each in canaries.state_dict()] == [2]

    def test_computing_with_it_is_no_writing(self) -> None:
        parts = Parts.of()
        attempt = parts.applied(batch(0))
        canaries = RecentCanaries(1)
        canaries.healthy(attempt)
        parts.applied(*attempt.batches)
        assert canaries.usable()[0].intact

    def test_tensors_of_inference_mode_can_be_kept(self) -> None:
        with torch.inference_mode():
            held = torch.zeros(3)
        assert versions_of([held]) == (0,)


class TestQuarantined:
    def test_a_canary_with_a_row_that_was_found_bad_since_is_dropped(self) -> None:
        canaries = kept(1, 2, 3, rows={1: [10, 11], 2: [12, "row-13"], 3: [14]})
        for bad, left in (({11}, [2, 3]), ({"row-13"}, [1, 3]), ({10, 14}, [2]), ({99}, [1, 2, 3])):
            assert [canary.update for canary in canaries.usable(frozenset(bad))] == left

    def test_one_whose_rows_are_not_known_stays(self) -> None:
        assert len(kept(1).usable(frozenset({1, 2, 3}))) == 1


def test_beginning_anew_keeps_none() -> None:
    canaries = kept(1, 2)
    canaries.begin_anew()
    assert canaries.usable() == ()
    canaries.healthy(attempt_of(5, 5, batch(0), before=before()))
    assert updates(canaries) == [5]


def test_what_was_remembered_comes_back_whatever_happened_since() -> None:
    canaries = kept(1, 2)
    remembered = canaries.remember()
    for number in (3, 4, 5, 6):
        canaries.healthy(attempt_of(number, number, batch(0), before=before()))
    canaries.recall(remembered)
    assert updates(canaries) == [1, 2]
    assert [canary.update for canary in remembered] == [1, 2]


class TestThroughACheckpoint:
    def test_they_come_back_as_they_were(self) -> None:
        canaries, other = kept(1, 2, rows={1: [3, "a"], 2: []}), RecentCanaries(4)
        other.load_state_dict(through_a_file(canaries.state_dict()))
        assert len(other.usable()) == 2
        for one, back in zip(canaries.usable(), other.usable(), strict=True):
            assert (back.loss, back.update, back.rows) == (one.loss, one.update, one.rows)
            assert_same(list(back.batches), list(one.batches))
            assert_same(back.rng["torch"], one.rng["torch"])
            assert back.intact

    def test_what_goes_in_is_a_copy(self) -> None:
        canaries = kept(1)
        held = canaries.state_dict()
        expected = clone(canaries.usable()[0].batches[0][0])
        canaries.usable()[0].batches[0][0].zero_()
        assert torch.equal(held[0]["batches"][0][0], expected)

    def test_a_batch_that_could_not_come_back_the_same_stays_out(self) -> None:
        class Strange:
            """Not of plain values."""

        canaries = RecentCanaries(4)
        for number, made in enumerate(([Strange()], batch(1), {"x": torch.zeros(2), 3: "label"})):
            canaries.healthy(attempt_of(number, number, made, before=before()))
        assert len(canaries.usable()) == 3
        back = canaries_of(through_a_file(canaries.state_dict()))
        assert [canary.update for canary in back] == [1, 2]
        assert back[1].batches[0].keys() == {"x", 3}

    def test_an_accumulated_update_keeps_all_its_batches(self) -> None:
        canaries = RecentCanaries(1)
        canaries.healthy(attempt_of(0, 0, batch(0), batch(1), before=before()))
        (back,) = canaries_of(through_a_file(canaries.state_dict()))
        assert_same(list(back.batches), [BATCHES[0], BATCHES[1]])

    def test_no_more_are_taken_back_than_are_kept(self) -> None:
        other = RecentCanaries(2)
        other.load_state_dict(kept(1, 2, 3, 4).state_dict())
        assert updates(other) == [3, 4]

    @pytest.mark.parametrize("missing", ["batches", "rng", "loss", "update", "rows"])
    def test_a_missing_field_is_refused(self, missing: str) -> None:
        (held,) = kept(1).state_dict()
        with pytest.raises(KeyError):
            canaries_of([{key: value for key, value in held.items() if key != missing}])


def test_it_is_the_batch_as_it_was_drawn_and_not_a_copy() -> None:
    drawn: Any = batch(0)
    canaries = RecentCanaries(1)
    canaries.healthy(attempt_of(0, 0, drawn, before=before()))
    canary: Canary = canaries.usable()[0]
    assert canary.batches[0] is drawn


class TestMemoryThatIsFilledAgain:
    """By NumPy, so that torch counts no writing."""

    def after(self, updates: int) -> tuple[RecentCanaries, np.ndarray[Any, Any]]:
        canaries, memory = RecentCanaries(4), np.zeros((3, 4), np.float32)
        for number in range(updates):
            memory[:] = number
            drawn = (torch.from_numpy(memory), torch.tensor(number))
            canaries.healthy(attempt_of(number, number, drawn, before=before()))
        return canaries, memory

    def test_from_the_second_batch_on_copies_are_kept(self) -> None:
        canaries, memory = self.after(6)
        memory[:] = np.nan
        assert updates(canaries) == [2, 3, 4, 5]
        assert [float(each.batches[0][0][0, 0]) for each in canaries.usable()] == [2.0, 3.0, 4.0, 5.0]

    def test_the_first_was_written_over_and_is_none(self) -> None:
        assert updates(self.after(2)[0]) == [1]

    def test_a_resumed_run_goes_on_copying(self) -> None:
        canaries, memory = self.after(3)
        other = RecentCanaries(4)
        other.load_state_dict(through_a_file(canaries.state_dict()))
        other.healthy(attempt_of(3, 3, (torch.from_numpy(memory),), before=before()))
        memory[:] = np.nan
        assert updates(other) == [1, 2, 3]
        assert all(bool(each.batches[0][0].isfinite().all()) for each in other.usable())

    def test_what_cannot_be_copied_for_certain_is_not_kept(self) -> None:
        class Strange:
            """Its copy may be anything."""

        canaries, memory = self.after(2)
        canaries.healthy(attempt_of(2, 2, (torch.from_numpy(memory), Strange()), before=before()))
        assert updates(canaries) == [1]

    def test_batches_of_their_own_memory_are_not_copied(self) -> None:
        assert not any(canary.copied for canary in kept(1, 2, 3).usable())
