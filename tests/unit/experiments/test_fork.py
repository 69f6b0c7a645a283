"""Forks: trained from a root, judged on what they have not seen, and gone without a trace."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import BATCHES, Parts
from support.traces import all_of
from torch.utils.data import DataLoader, Dataset

from supervisor.errors import ActionError
from supervisor.experiments.fork import Forks, Setting, Stopped, drawn_updates
from supervisor.testing.tiny import tiny_batches
from supervisor.training.bad_rows import BadSamples
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition

TRAIN = [(batch,) for batch in BATCHES[:4]]
PROBE = [(batch,) for batch in BATCHES[4:]]


def forks_of(parts: Parts, **changes: Any) -> Forks:
    given = {"root": parts.subject.capture(), "stopping": lambda: False, **changes}
    return Forks(parts.subject, parts.executor, **given)


def score(forks: Forks, setting: Setting | None = None, change: Any = None) -> float:
    with forks.undone():
        return forks.score(TRAIN, PROBE, change or (lambda: setting or Setting()))


class TestTraining:
    def test_it_is_that_of_a_run_from_the_root(self) -> None:
        parts = Parts.of()
        root = parts.subject.capture()
        expected = score(forks_of(parts, root=root))
        for batches in TRAIN:
            parts.executor.replay(batches, parts.begun(*batches).place)
            parts.executor.step_optimizer()
        losses = sorted(parts.executor.probe(batches, graph=False) for batches in PROBE)
        assert expected == pytest.approx((losses[0] + losses[1]) / 2)

    def test_a_rate_that_the_training_refuses_is_held_in_a_fork_too(self) -> None:
        parts = Parts.of()
        slower = score(forks_of(parts), Setting(lr_scale=0.25))
        asked: list[float | None] = []

        def held(rate: float | None) -> float:
            asked.append(rate)
            return 0.25

        assert score(forks_of(parts, held=held)) == slower != score(forks_of(parts))
        assert asked == [parts.subject.optimizer.param_groups[0]["lr"]] * len(TRAIN)

    def test_each_begins_at_the_root_and_is_the_same_again(self) -> None:
        forks = forks_of(Parts.of())
        with forks.undone():
            first = forks.score(TRAIN, PROBE, Setting)
            other = forks.score(TRAIN, PROBE, lambda: Setting(lr_scale=0.01))
            assert forks.score(TRAIN, PROBE, Setting) == first != other
            assert forks.at_root(PROBE) > first

    def test_gradients_are_clipped_to_what_its_setting_says(self) -> None:
        parts = Parts.of(optimizer=None)
        assert score(forks_of(parts), Setting(max_norm=1e-6)) != score(forks_of(parts), Setting())

    def test_a_batch_that_the_loss_writes_into_is_the_same_for_the_next(self) -> None:
        parts = Parts.of()
        usual = parts.loss

        def spoils(batch: Any) -> Any:
            loss = usual(batch)
            batch[0].zero_()
            return loss

        forks = forks_of(Parts.of(parts.model, spoils))
        assert score(forks) == score(forks)

    def test_a_loss_that_needs_a_graph_gets_one(self) -> None:
        parts = Parts.of()
        usual = parts.loss

        def penalised(batch: Any) -> Any:
            loss = usual(batch)
            slopes = torch.autograd.grad(loss, list(parts.model.parameters()), create_graph=True)
            return loss + sum(slope.square().sum() for slope in slopes)

        assert math.isfinite(score(forks_of(Parts.of(parts.model, penalised))))


class TestFailing:
    def test_what_is_not_finite_or_raises_scores_infinity(self) -> None:
        parts = Parts.of()
        assert score(forks_of(parts), Setting(lr_scale=1e30)) == math.inf

        def raises() -> Setting:
            raise RuntimeError("no such cure")

        assert score(forks_of(parts), change=raises) == math.inf
        bad = [(tuple(torch.full_like(t, math.nan) if t.is_floating_point() else t for t in BATCHES[0]),)]
        forks = forks_of(parts)
        with forks.undone():
            assert forks.score(bad, PROBE, Setting) == math.inf
            assert forks.score((), bad, Setting) == math.inf
            assert forks.healthy([*TRAIN, *bad]) == [True] * 4 + [False]

    def test_a_stop_abandons_it_and_everything_is_put_back(self) -> None:
        parts, asked = Parts.of(), iter([False, False, True])
        before = all_of(parts.subject)
        with pytest.raises(Stopped):
            score(forks_of(parts, stopping=lambda: next(asked)))
        assert_same(all_of(parts.subject), before)

    def test_without_a_loss_that_may_be_called_again_there_is_none(self) -> None:
        with pytest.raises(ActionError, match="no loss function"):
            score(forks_of(Parts.of(replayed=False)))

    def test_forks_run_inside_their_block_alone(self) -> None:
        forks = forks_of(Parts.of())
        with pytest.raises(RuntimeError):
            forks.healthy(TRAIN)


class TestDrawing:
    def test_what_was_drawn_comes_again_in_order(self) -> None:
        batches = tiny_batches(7)
        cursor = DataCursor(batches)
        cursor.next()
        with drawn_updates(cursor, 2, 2) as updates:
            assert [len(update) for update in updates] == [2, 2]
        given = [cursor.next() for _ in range(6)]
        assert all(one is other for one, other in zip(given, batches[1:], strict=True))

    def test_rows_that_raise_are_left_out_and_told_of_when_the_training_goes_on(self) -> None:
        class Torn(Dataset[int]):
            def __len__(self) -> int:
                return 8

            def __getitem__(self, index: int) -> int:
                if index == 3:
                    raise OSError("torn record")
                return index

        cursor = DataCursor(DataLoader(Torn(), batch_size=2))
        with drawn_updates(cursor, 4, 1) as updates:
            assert [update[0].tolist() for update in updates] == [[0, 1], [2], [4, 5], [6, 7]]
        assert [batch.tolist() for batch in cursor.give(4)] == [[0, 1], [2], [4, 5], [6, 7]]
        with pytest.raises(BadSamples, match="torn record"):
            cursor.give(1)

    def test_where_the_caller_draws_there_is_nothing_to_draw_from(self) -> None:
        with pytest.raises(ActionError, match="does not draw"), drawn_updates(DataPosition(), 1, 1):
            pass

    def test_data_that_end_too_early_give_back_what_they_gave(self) -> None:
        cursor = DataCursor(iter([1, 2, 3]))
        with pytest.raises(ActionError, match="gave 3 of"), drawn_updates(cursor, 4, 1):
            pass
        assert [cursor.next() for _ in range(3)] == [1, 2, 3]
