"""Which samples of a batch are at fault: by their values, or because the step is healthy without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.parts import BATCHES, Parts, is_healthy
from torch import Tensor, nn

from supervisor.diagnosis.replay import Replays
from supervisor.diagnosis.sample_search import BY_VALUE, NO_SAMPLE, Blame, SampleSearch
from supervisor.records import Signal, SignalName
from supervisor.testing.tiny import with_nan

ROWS = 8


def search_of(*batches: Any, loss: Callable[[Any], Tensor] | None = None, most: int = 40) -> SampleSearch:
    """Over an update that was discarded. The model mixes no samples, and each weighs the same."""
    model = nn.Sequential(nn.Linear(4, 3))
    weight = model[0].weight
    parts = Parts.of(model, None if loss is None else lambda batch: loss(batch) * weight.square().sum())
    attempt = parts.flagged(*batches)
    replays = Replays(parts.subject, parts.executor, attempt.before, None, attempt.place, most=most)
    return SampleSearch(attempt, replays, is_healthy)


def changed(row: int, value: float, number: int = 0) -> Any:
    x_BF = BATCHES[number][0].clone()
    x_BF[row] = value
    return x_BF, BATCHES[number][1]


class TestByValue:
    def test_what_the_batches_hold(self) -> None:
        assert search_of(BATCHES[0]).flaws() == set()
        assert search_of(BATCHES[0], with_nan(BATCHES[1])).flaws() == {"nan"}

    def test_samples_are_counted_through_the_batches_of_the_update(self) -> None:
        search = search_of(BATCHES[0], with_nan(BATCHES[1], row=3), with_nan(BATCHES[2], row=0))
        assert search.by_value() == Blame((ROWS + 3, 2 * ROWS), BY_VALUE)
        assert search.replays.done == 0

    def test_where_samples_cannot_be_told_apart_the_batch_is_named(self) -> None:
        ragged = (torch.full((3,), math.nan), torch.ones(4))
        search = search_of(ragged, loss=lambda batch: batch[0].sum())
        assert search.by_value() == Blame((), NO_SAMPLE)


class TestWithoutThem:
    def test_bad_values_are_blamed_when_the_step_is_healthy_without_them(self) -> None:
        search = search_of(BATCHES[0], with_nan(BATCHES[1], row=3))
        assert search.to_blame() == Blame((ROWS + 3,), BY_VALUE)
        assert search.replays.done == 1

    def test_a_batch_that_is_left_out_whole_is_no_batch(self) -> None:
        bad = (torch.full((1, 4), math.nan), torch.zeros(1, dtype=torch.int64))
        assert search_of(bad, BATCHES[0]).to_blame() == Blame((0,), BY_VALUE)

    def test_finite_samples_are_found_by_leaving_them_out(self) -> None:
        search = search_of(changed(5, 3e38), loss=lambda batch: (batch[0].sum(1) * 10).mean())
        blame = search.to_blame()
        assert blame is not None
        assert blame.samples == (5,)
        assert "without it the step is healthy, though its values are finite" in blame.why

    def test_two_in_two_batches(self) -> None:
        search = search_of(
            changed(5, 3e38), changed(1, 3e38, number=1), loss=lambda batch: (batch[0].sum(1) * 10).mean()
        )
        blame = search.to_blame()
        assert blame is not None
        assert blame.samples == (5, ROWS + 1)
        assert blame.why.startswith("without them")

    def test_a_fault_of_every_sample_is_no_samples(self) -> None:
        search = search_of(BATCHES[0], loss=lambda batch: batch[0].mean() * math.nan)
        assert search.to_blame() is None

    def test_a_sample_by_itself_is_not_looked_for(self) -> None:
        one = (BATCHES[0][0][:1], BATCHES[0][1][:1])
        search = search_of(one, loss=lambda batch: batch[0].mean() * math.nan)
        assert search.to_blame() is None
        assert search.replays.done == 0

    def test_two_replays_are_left_for_what_follows(self) -> None:
        search = search_of(changed(5, 3e38), loss=lambda batch: (batch[0].sum(1) * 10).mean(), most=4)
        search.to_blame()
        assert search.replays.left == 2


class TestManyBadValues:
    def test_nan_in_most_samples_is_the_batchs(self) -> None:
        batch = BATCHES[0]
        for row in range(5):
            batch = with_nan(batch, row)
        assert search_of(batch).to_blame() == Blame((0, 1, 2, 3, 4), BY_VALUE)
        # Even where leaving them out does not help.
        spoilt = search_of(batch, loss=lambda batch: batch[0].mean() * math.nan)
        assert spoilt.to_blame() == Blame((0, 1, 2, 3, 4), NO_SAMPLE)

    def test_nan_everywhere(self) -> None:
        batch = (BATCHES[0][0] * math.nan, BATCHES[0][1])
        assert search_of(batch).to_blame() == Blame(tuple(range(ROWS)), NO_SAMPLE)

    def test_infinities_everywhere_that_change_nothing_are_a_mask(self) -> None:
        masked = (BATCHES[0][0], torch.full((ROWS, 4), -math.inf))
        harmless = search_of(masked, loss=lambda batch: batch[0].mean() * math.nan)
        assert harmless.to_blame() is None

    def test_infinities_everywhere_that_do_harm_are_the_batchs(self) -> None:
        batch = (BATCHES[0][0] * math.inf, BATCHES[0][1])
        blame = search_of(batch, loss=lambda batch: batch[0].mean()).to_blame()
        assert blame == Blame(tuple(range(ROWS)), NO_SAMPLE)


class TestAStepThatWantsItsSamples:
    def wants_all(self, batch: Any) -> Tensor:
        if len(batch[0]) != ROWS:
            raise ValueError("eight, or none")
        return batch[0].mean()  # type: ignore[no-any-return]

    def test_bad_values_are_blamed_without_the_proof(self) -> None:
        search = search_of(with_nan(BATCHES[0], row=6), loss=self.wants_all)
        assert search.to_blame() == Blame((6,), NO_SAMPLE)

    def test_and_nothing_where_all_are_finite(self) -> None:
        search = search_of(BATCHES[0], loss=lambda batch: self.wants_all(batch) * math.nan)
        assert search.to_blame() is None

    def test_ragged_batches_are_not_searched(self) -> None:
        ragged = (torch.ones(3), torch.ones(4))
        search = search_of(ragged, loss=lambda batch: batch[0].mean() * math.nan)
        assert search.to_blame() is None
        assert search.replays.done == 0


@pytest.mark.parametrize(("typical", "blamed"), [(1.0, (5,)), (0.01, ())])
def test_a_spike_must_go_back_half_way_without_its_sample(typical: float, blamed: tuple[int, ...]) -> None:
    """Just beyond a threshold, whatever is left out makes it pass."""

    def largest(batch: Any) -> Tensor:
        return batch[0].abs().max()  # type: ignore[no-any-return]

    # 40 with the sample, and about 3 without it.
    search = search_of(changed(5, 40.0), loss=largest)
    worst = search.attempt.seen.loss
    search.attempt.signals = (Signal(SignalName.LOSS_SPIKE, {"loss": worst, "median": typical * worst / 40}),)
    found = SampleSearch(search.attempt, search.replays, lambda seen: seen.loss < 0.9 * worst).to_blame()
    assert (() if found is None else found.samples) == blamed
