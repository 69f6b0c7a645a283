"""Invariant 3 where batches are accumulated: a bad one was never seen, and the good ones beside it are not lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from support.exact import assert_same, everything
from support.training import (
    EventList,
    MovingAverage,
    Net,
    Training,
    build,
    guard_of,
    healthy_batches,
    nan_batch,
    quiet,
)
from torch import Tensor

from supervisor import StepOutcome

BATCHES = healthy_batches(24)
POLICY = quiet(ladder=[{"action": "skip_batch", "attempts": 20}, {"action": "halt"}], cooldown_steps=2)


def spoilt(bad: set[int], batches: list[Any] = BATCHES) -> list[Any]:
    return [nan_batch(batch) if number in bad else batch for number, batch in enumerate(batches)]


def without(bad: set[int], batches: list[Any] = BATCHES) -> list[Any]:
    return [batch for number, batch in enumerate(batches) if number not in bad]


def one(**options: Any) -> Training:
    return build(**{"scheduler": "one_cycle", "draws": True, "average": True, **options})


def plain(training: Training, batches: Iterable[Any], *, updates: int, accumulate: int) -> dict[str, Any]:
    """The loop that one writes by hand, over so many updates of the stream of batches."""
    stream = iter(batches)
    for _ in range(updates):
        training.optimizer.zero_grad()
        for _ in range(accumulate):
            (training.loss(next(stream)) / accumulate).backward()
        training.optimizer.step()
        if training.scheduler is not None:
            training.scheduler.step()
    return everything(training)


def outcomes(training: Training, data: Any, steps: int, **options: Any) -> list[StepOutcome]:
    guard = guard_of(training, data, **{"policy": POLICY, **options})
    return [guard.step(batch) for batch in guard.batches(steps)]


def blamed(found: list[StepOutcome]) -> dict[int, Any]:
    """By step, which batches of its update the signals name; None where they name none."""
    return {outcome.step: outcome.signals[0].details.get("batches") for outcome in found if outcome.signals}


@pytest.mark.parametrize(
    ("accumulate", "bad", "named"),
    [
        (2, {0}, {0: ("0",)}),
        (2, {5}, {2: ("1",)}),
        (2, {4, 5}, {2: ("0", "1")}),
        (2, {5, 6}, {2: ("1",), 3: ("1",)}),
        (2, {5, 7, 15}, {2: ("1",), 4: ("0",), 8: ("1",)}),
        (4, {4}, {1: ("0",)}),
        (4, {5}, {1: ("1",)}),
        (4, {6}, {1: ("2",)}),
        (4, {7}, {1: ("3",)}),
        (4, {4, 6}, {1: ("0", "2")}),
        (4, {5, 6, 7}, {1: ("1", "2", "3")}),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["run", "batches"])
def test_a_bad_batch_was_never_seen(form: str, accumulate: int, bad: set[int], named: dict[int, Any]) -> None:
    steps = len(BATCHES) // accumulate - 1
    training = one()
    if form == "run":
        summary = guard_of(training, spoilt(bad), policy=POLICY, accumulate=accumulate).run(steps)
        assert summary.skipped_steps == len(named)
    else:
        found = outcomes(training, spoilt(bad), steps, accumulate=accumulate)
        assert blamed(found) == named
    expected = plain(one(), without(bad), updates=steps - len(named), accumulate=accumulate)
    assert_same(everything(training), expected)


@pytest.mark.parametrize("bad", [{0}, {2}, {4}, {0, 4}], ids=str)
@pytest.mark.parametrize("accumulate", [2, 4])
def test_likewise_across_the_ends_of_epochs(accumulate: int, bad: set[int]) -> None:
    data = BATCHES[:5]
    training = one()
    found = outcomes(training, spoilt(bad, data), 10, accumulate=accumulate)
    assert len(blamed(found)) >= 3
    assert None not in blamed(found).values()
    stream = itertools.cycle(without(bad, data))
    expected = plain(one(), stream, updates=sum(outcome.applied for outcome in found), accumulate=accumulate)
    assert_same(everything(training), expected)


@pytest.mark.parametrize("bad", [{0}, {3}, {4}], ids=str)
def test_likewise_under_a_schedule_by_epoch(bad: set[int]) -> None:
    data = BATCHES[:5]
    training = one(scheduler="plateau")
    found = outcomes(training, spoilt(bad, data), 12, accumulate=2, scheduler_interval="epoch")
    skipped_then = everything(training)
    applied = sum(outcome.applied for outcome in found)
    assert 0 < applied < 12
    clean = one(scheduler="plateau")
    guard_of(clean, without(bad, data), policy=POLICY, accumulate=2, scheduler_interval="epoch").run(applied)
    assert_same(skipped_then, everything(clean))


def test_a_lower_rate_gives_the_good_ones_back_too() -> None:
    policy = quiet(ladder=[{"action": "lower_lr", "factor": 0.5}, {"action": "halt"}])
    guard = guard_of(one(), spoilt({5}), policy=policy, accumulate=2)
    stream = guard.batches(6)
    drawn = []
    for batch in stream:
        drawn.append(batch)
        guard.step(batch)
    assert drawn[3][0] is BATCHES[4]
    assert drawn[3][1] is BATCHES[6]
    assert guard.batches_drawn == 11


@pytest.mark.parametrize("data", ["advance", "replay"])
def test_going_back_gives_none_back(data: str) -> None:
    policy = quiet(ladder=[{"action": "reload_checkpoint", "attempts": 2, "data": data}, {"action": "halt"}])
    guard = guard_of(one(), spoilt({5}), policy=policy, accumulate=2)
    first: list[Any] = []
    for batch in guard.batches(6):
        first.append(batch[0])
        if len(first) == 4:
            break
        guard.step(batch)
    assert first[3] is BATCHES[0 if data == "replay" else 6]


@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_resume_right_after_a_skip_is_exact(at: int, tmp_path: Path) -> None:
    bad = {3, 7}
    expected = plain(one(), without(bad), updates=8, accumulate=2)
    policy = quiet(cooldown_steps=2, checkpoint={"every_steps": 1})
    options: dict[str, Any] = {"policy": policy, "accumulate": 2, "run_dir": tmp_path / "run"}
    guard = guard_of(one(), spoilt(bad), **options)
    for batch in guard.batches(10):
        guard.step(batch)
        if guard.steps_done == at + 1:
            guard.request_stop()
    guard.close()
    training = one(seed=5)
    resumed = guard_of(training, spoilt(bad), **options, resume=True)
    assert resumed.run(10).applied_steps == 8
    resumed.close()
    assert_same(everything(training), expected)


class Named(NamedTuple):
    x_BF: Tensor
    y_B: Tensor


def test_what_a_checkpoint_cannot_hold_is_lost_on_resume_and_said(tmp_path: Path) -> None:
    data = [Named(*batch) for batch in spoilt({3})]
    policy = quiet(checkpoint={"every_steps": 1})
    options: dict[str, Any] = {"policy": policy, "accumulate": 2, "run_dir": tmp_path / "run"}
    events = EventList()
    guard = guard_of(one(), data, **options, listeners=[events])
    for batch in guard.batches(4):
        guard.step(batch)
        if guard.steps_done == 2:
            guard.request_stop()
    guard.close()
    warnings = [event.message for event in events.named("warning")]
    assert [w.startswith("batches put back and not used yet: 1 cannot stand in the checkpoint") for w in warnings]
    resumed = guard_of(one(), data, **options, resume=True)
    assert next(resumed.batches(4))[0] is data[4]
    resumed.close()


class TestNobodyToBlame:
    """The whole update is dropped, and the signal names no batch."""

    def dropped(self, training: Training, loss: Callable[[Any], Tensor]) -> tuple[list[StepOutcome], dict[str, Any]]:
        found = outcomes(training, BATCHES, 8, accumulate=2, loss=loss)
        return found, plain(one(), without({4, 5}), updates=7, accumulate=2)

    def test_where_only_the_sum_overflows(self) -> None:
        training = one()

        def loss(batch: Any) -> Tensor:
            value = training.loss(batch)
            weight = training.model.inner.weight  # type: ignore[union-attr]
            # Each has a gradient of 0.8e18 an element, below the bound, and their sum is beyond it.
            return value + 1.6e18 * (weight - weight.detach()).sum() if any(batch is b for b in BATCHES[4:6]) else value

        found, expected = self.dropped(training, loss)
        assert [str(signal.name) for signal in found[2].signals] == ["gradient_overflow"]
        assert blamed(found) == {2: None}
        assert_same(everything(training), expected)

    def test_where_it_does_not_happen_again(self) -> None:
        training = one()
        fate = iter([float("nan")])

        def loss(batch: Any) -> Tensor:
            return training.loss(batch) * (next(fate, 1.0) if batch is BATCHES[4] else 1.0)

        found, expected = self.dropped(training, loss)
        assert blamed(found) == {2: None}
        assert_same(everything(training), expected)

    def test_where_the_state_was_bad_before(self) -> None:
        training = one()
        guard = guard_of(training, BATCHES, accumulate=2)
        found = []
        for batch in guard.batches(4):
            if guard.steps_done == 2 and not found:
                with torch.no_grad():
                    training.model.inner.weight[0, 0] = float("nan")  # type: ignore[union-attr]
                found.append(guard.step(batch))
            else:
                guard.step(batch)
        names = {str(signal.name): signal.details for signal in found[0].signals}
        assert "nonfinite_loss" in names
        assert "batches" not in names["nonfinite_loss"]


class TestTheSecondLook:
    def test_names_a_batch_that_raises_or_has_a_bad_or_overflowing_gradient(self) -> None:
        training = one()

        def loss(batch: Any) -> Tensor:
            value = training.loss(batch)
            weight = training.model.inner.weight  # type: ignore[union-attr]
            if batch is BATCHES[3]:
                raise RuntimeError("after the forward pass drew its numbers")
            if batch is BATCHES[4]:
                return value + (weight * 0).sum().sqrt() * 0
            return value + 1e30 * (weight - weight.detach()).sum() if batch is BATCHES[8] else value

        found = outcomes(training, BATCHES, 10, accumulate=2, loss=loss)
        signals = [str(outcome.signals[0].name) for outcome in found if outcome.signals]
        assert signals == ["step_exception", "nonfinite_gradient", "gradient_overflow"]
        assert list(blamed(found).values()) == [("1",), ("1",), ("0",)]
        assert_same(everything(training), plain(one(), without({3, 4, 8}), updates=7, accumulate=2))

    def test_names_a_batch_that_spoils_running_statistics_alone(self) -> None:
        class Watching(Net):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("seen", torch.zeros(()))

            def forward(self, x_BF: Tensor) -> Tensor:
                self.seen.add_(x_BF.sum())
                return super().forward(torch.nan_to_num(x_BF))

        training = one(model=Watching)
        found = outcomes(training, spoilt({5}), 6, accumulate=2)
        assert [str(signal.name) for signal in found[2].signals] == ["nonfinite_buffer"]
        assert blamed(found) == {2: ("1",)}
        assert_same(everything(training), plain(one(model=Watching), without({5}), updates=5, accumulate=2))

    def test_a_loss_that_depends_on_what_it_saw_is_judged_without_the_bad_one(self) -> None:
        """Registered state that a bad batch poisons would make every later one look bad."""
        training = build(average=True, draws=True)
        average = training.extra_state["average"]
        assert isinstance(average, MovingAverage)

        def loss(batch: Any) -> Tensor:
            average.shadow["memory"] = average.shadow.get("memory", torch.zeros(())) + batch[0].sum()
            return training.loss(batch) + 0 * average.shadow["memory"]

        average.follow = lambda model: None  # type: ignore[method-assign]
        found = outcomes(training, spoilt({5}), 5, accumulate=4, loss=loss)
        assert blamed(found) == {1: ("1",)}

    def test_leaves_everything_as_it_was(self) -> None:
        training = one()
        guard = guard_of(training, accumulate=4, policy=POLICY)
        guard.step(tuple(BATCHES[:4]))
        before = everything(training)
        outcome = guard.step(tuple(spoilt({5, 6})[4:8]))
        assert outcome.signals[0].details["batches"] == ("1", "2")
        assert_same(everything(training), before)
        assert all(parameter.grad is None for parameter in training.model.parameters())

    def test_what_a_loop_of_ones_own_made_of_the_batches_is_not_put_back(self) -> None:
        guard = guard_of(one(), spoilt({3}), accumulate=2, policy=POLICY)
        seen = []
        for batch in guard.batches(4):
            seen.append(batch)
            guard.step(tuple((x_BF * 2, y_B) for x_BF, y_B in batch))
        assert seen[2][0] is BATCHES[4]

    def test_batches_that_the_loss_writes_to_are_not_put_back(self) -> None:
        training = one()

        def loss(batch: Any) -> Tensor:
            batch[0].mul_(0.5)
            return training.loss(batch)

        data = [(x_BF.clone(), y_B) for x_BF, y_B in spoilt({3})]
        guard = guard_of(training, data, accumulate=2, policy=POLICY, loss=loss)
        seen = []
        for batch in guard.batches(4):
            seen.append(batch)
            guard.step(batch)
        assert seen[2][0] is data[4]

    @pytest.mark.parametrize("raises", [False, True])
    def test_forgets_what_was_replaced_on_the_way(self, raises: bool) -> None:
        training = one()
        replaced = torch.zeros(())

        def loss(batch: Any) -> Tensor:
            replaced.add_(torch.isnan(batch[0]).sum())
            if raises and bool(replaced):
                raise RuntimeError("not finite")
            return training.loss(batch)

        def sanitized() -> Tensor:
            count = replaced.clone()
            replaced.zero_()
            return count

        found = outcomes(training, spoilt({3}), 4, accumulate=2, loss=loss, sanitized=sanitized)
        flagged = ["step_exception"] if raises else ["nonfinite_loss", "nonfinite_gradient", "sanitized_values"]
        assert [[str(signal.name) for signal in outcome.signals] for outcome in found] == [[], flagged, [], []]
