"""Invariant 3: skipping batch k is bit-identical to a run over the same batches without k."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import OPTIMIZERS, Training, build, guard_of, healthy_batches, nan_batch, quiet

BATCHES = healthy_batches(24)
POLICY = quiet(cooldown_steps=2)


def without(bad: set[int]) -> list[Any]:
    return [batch for number, batch in enumerate(BATCHES) if number not in bad]


def spoilt(bad: set[int]) -> list[Any]:
    return [nan_batch(batch) if number in bad else batch for number, batch in enumerate(BATCHES)]


def plain(training: Training, batches: list[Any]) -> dict[str, Any]:
    for batch in batches:
        training.optimizer.zero_grad()
        training.loss(batch).backward()
        training.optimizer.step()
        if training.scheduler is not None:
            training.scheduler.step()
    return everything(training)


@pytest.mark.parametrize("bad", [{0}, {7}, {23}, {3, 4, 5}, {1, 6, 11, 16}], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_skipped_batch_was_never_seen(optimizer: str, bad: set[int]) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "scheduler": "one_cycle", "draws": True, "average": True}
    expected = plain(build(**options), without(bad))
    training = build(**options)
    summary = guard_of(training, spoilt(bad), policy=POLICY).run(len(BATCHES))
    assert summary.applied_steps == len(BATCHES) - len(bad)
    assert summary.skipped_steps == len(bad)
    assert_same(everything(training), expected)


@pytest.mark.parametrize("bad", [{7}, {3, 4, 5}], ids=str)
@pytest.mark.parametrize("form", ["batches", "own"])
def test_likewise_in_a_loop_of_ones_own(form: str, bad: set[int]) -> None:
    expected = plain(build(scheduler="cosine", draws=True), without(bad))
    training = build(scheduler="cosine", draws=True)
    if form == "batches":
        guard = guard_of(training, spoilt(bad), policy=POLICY)
        for batch in guard.batches(len(BATCHES)):
            guard.step(batch)
    else:
        guard = guard_of(training, policy=POLICY)
        for batch in spoilt(bad):
            guard.step(batch)
    assert_same(everything(training), expected)


def test_likewise_with_files(tmp_path: Path) -> None:
    expected = plain(build(draws=True), without({9, 15}))
    training = build(draws=True)
    policy = quiet(checkpoint={"every_steps": 3}, snapshot={"every_steps": 2}, probation_steps=1, cooldown_steps=2)
    guard_of(training, spoilt({9, 15}), policy=policy, run_dir=tmp_path / "run").run(len(BATCHES))
    assert_same(everything(training), expected)


def test_a_batch_that_raises_was_never_seen() -> None:
    expected = plain(build(draws=True, average=True), without({7}))
    training = build(draws=True, average=True)

    def loss(batch: Any) -> torch.Tensor:
        value = training.loss(batch)
        if batch is BATCHES[7]:
            raise RuntimeError("after the forward pass drew its numbers")
        return value

    guard_of(training, BATCHES, loss=loss).run(len(BATCHES))
    assert_same(everything(training), expected)


def test_a_batch_whose_gradient_alone_is_bad_was_never_seen() -> None:
    expected = plain(build(draws=True), without({7}))
    training = build(draws=True)

    def loss(batch: Any) -> torch.Tensor:
        value = training.loss(batch)
        # A finite loss with a NaN gradient: the derivative of sqrt at zero, times zero.
        weight = training.model.inner.weight  # type: ignore[union-attr]
        trap = ((weight * 0).sum()).sqrt() * 0 if batch is BATCHES[7] else 0.0
        assert math.isfinite(float(value + trap))
        return value + trap

    guard = guard_of(training, BATCHES, loss=loss)
    outcomes = [guard.step(batch) for batch in guard.batches(len(BATCHES))]
    assert [str(s.name) for s in outcomes[7].signals] == ["nonfinite_gradient"]
    assert_same(everything(training), expected)


def test_a_skipped_step_does_not_move_the_schedule() -> None:
    training = build(scheduler="lambda")
    guard = guard_of(training, spoilt({4}))
    outcomes = [guard.step(batch) for batch in guard.batches(10)]
    assert guard.steps_done == 10
    assert [outcome.step for outcome in outcomes] == list(range(10))
    assert training.scheduler is not None
    assert training.scheduler.last_epoch == 9
