"""Invariants 1, 2 and 3 for every optimizer under every schedule, in every manner of making an update.

Invisible when healthy; a flagged step leaves everything as it was; a skipped batch was never seen.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_finite, assert_same, differences, everything
from support.grid import FAULTS, MANNERS, OPTIMIZERS, SCHEDULERS, Manner, Row, build, hand_written, rows
from support.training import Training, guard_of, quiet
from torch import Tensor

HEALTHY_UPDATES = 20
UPDATES = 9
AT = 5
"""The update that is spoilt: past the first snapshot, state check and checkpoint."""


def grid(*dimensions: Iterable[str], every: int) -> list[Any]:
    """The full product, of which only each `every`-th cell is not slow: diagonals, so that all pairs still meet."""
    lists = [list(dimension) for dimension in dimensions]
    cells = itertools.product(*(range(len(each)) for each in lists))
    return [
        pytest.param(*(each[i] for each, i in zip(lists, cell, strict=True)), marks=[pytest.mark.slow] * slow)
        for cell in cells
        for slow in [sum(cell) % every != 0]
    ]


def updates_of(manner: Manner, count: int) -> list[tuple[Row, ...]]:
    drawn = rows(count * manner.accumulate)
    return [tuple(drawn[i : i + manner.accumulate]) for i in range(0, len(drawn), manner.accumulate)]


def guarded(training: Training, updates: Sequence[tuple[Row, ...]], manner: Manner, tmp_path: Path, **more: Any) -> Any:
    policy = quiet(
        gradient_clip=None if manner.max_norm is None else {"max_norm": manner.max_norm},
        detect={"state_every_steps": 4},
        snapshot={"every_steps": 3, "keep": 2},
        checkpoint={"every_steps": 4, "keep": 2},
        probation_steps=2,
        cooldown_steps=3,
    )
    return guard_of(
        training,
        [row for parts in updates for row in parts],
        policy=policy,
        accumulate=manner.accumulate,
        run_dir=tmp_path / "run" if manner.files else None,
        **more,
    )


@functools.cache
def by_hand(optimizer: str, scheduler: str, manner: Manner, without: int | None = None) -> dict[str, Any]:
    """Everything at the end of the hand-written loop, `without` one of its updates."""
    training = build(optimizer, scheduler, manner)
    updates = updates_of(manner, HEALTHY_UPDATES if without is None else UPDATES)
    hand_written(training, [parts for number, parts in enumerate(updates) if number != without], manner)
    return everything(training)


@pytest.mark.parametrize(("optimizer", "scheduler", "manner"), grid(OPTIMIZERS, SCHEDULERS, MANNERS, every=3))
def test_a_healthy_run_is_bit_identical(optimizer: str, scheduler: str, manner: str, tmp_path: Path) -> None:
    how = MANNERS[manner]
    training = build(optimizer, scheduler, how)
    summary = guarded(training, updates_of(how, HEALTHY_UPDATES), how, tmp_path).run(HEALTHY_UPDATES)
    assert (summary.status, summary.applied_steps, summary.incidents) == ("finished", HEALTHY_UPDATES, 0)
    assert_same(everything(training), by_hand(optimizer, scheduler, replace(how, files=False)))


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "fault", "manner"), grid(OPTIMIZERS, SCHEDULERS, FAULTS, MANNERS, every=10)
)
def test_a_bad_batch_changes_nothing_and_was_never_seen(
    optimizer: str, scheduler: str, fault: str, manner: str, tmp_path: Path
) -> None:
    spoilt = FAULTS[fault]
    how = replace(MANNERS[manner], **(spoilt.changes or {}))
    updates = updates_of(how, UPDATES)
    updates[AT] = tuple(spoilt.spoil(row) for row in updates[AT])
    training = build(optimizer, scheduler, how)
    before: list[dict[str, Any]] = []

    def loss(row: Row) -> Tensor:
        if row is updates[AT][0]:
            before.append(everything(training))
        return training.loss(row)

    guard = guarded(training, updates, how, tmp_path, loss=loss)
    for number, batch in enumerate(guard.batches(UPDATES)):
        outcome = guard.step(batch)
        assert outcome.applied is (number != AT)
        if number == AT:
            assert outcome.signals[0].name == spoilt.signal
            assert outcome.action == "skip_batch"
            assert_same(everything(training), before[0])
            assert all(parameter.grad is None for parameter in training.model.parameters())
    assert_same(everything(training), by_hand(optimizer, scheduler, replace(how, files=False), AT))
    assert_finite(training)


@pytest.mark.parametrize("fault", FAULTS)
def test_without_the_guard_each_of_these_batches_does_damage(fault: str) -> None:
    """What the grid rests on: the faults are real, in the very numbers that they are named after."""
    spoilt = FAULTS[fault]
    how = replace(Manner(), **(spoilt.changes or {}))
    updates = updates_of(how, UPDATES)
    training = build("adam", "lambda", how)
    hand_written(training, updates[:AT], how)
    loss = training.loss(spoilt.spoil(updates[AT][0]))
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in training.model.parameters() if p.grad is not None]
    bad = sum(int((~torch.isfinite(g)).sum()) for g in gradients)
    assert math.isfinite(loss.item()) is (fault not in ("nan_loss", "infinite_loss"))
    assert (bad > 0) is (spoilt.signal in ("nonfinite_loss", "nonfinite_gradient"))
    if fault.startswith("one_"):
        assert bad == 1
    if spoilt.signal == "gradient_overflow":
        assert torch.nn.utils.get_total_norm(gradients).isinf()
    if fault == "huge_gradients":
        assert max(float(g.abs().max()) for g in gradients) > 1e29
    training.optimizer.step()
    with pytest.raises(AssertionError, match="not finite"):
        assert_finite(training)


def test_the_manners_are_different_runs() -> None:
    """What is compared bit for bit is not the same run under six names."""
    ends = [by_hand("adam", "plateau", replace(how, files=False)) for how in MANNERS.values()]
    distinct = [one for i, one in enumerate(ends) if all(differences(one, other) for other in ends[:i])]
    assert len(distinct) == len({replace(how, files=False) for how in MANNERS.values()})


@pytest.mark.parametrize(
    ("dimensions", "every"),
    [((OPTIMIZERS, SCHEDULERS, MANNERS), 3), ((OPTIMIZERS, SCHEDULERS, FAULTS, MANNERS), 10)],
    ids=["healthy", "faulty"],
)
def test_every_pair_meets_in_a_cell_that_is_not_slow(dimensions: tuple[Any, ...], every: int) -> None:
    quick = [cell.values for cell in grid(*dimensions, every=every) if not cell.marks]
    for i, j in itertools.combinations(range(len(dimensions)), 2):
        met = {(values[i], values[j]) for values in quick}
        assert met == set(itertools.product(dimensions[i], dimensions[j]))
