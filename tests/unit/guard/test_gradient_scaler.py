"""Mixed precision with a real gradient scaler: the guard is invisible, and knows calibration from collapse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_finite, assert_same, everything
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch, quiet
from torch import Tensor, nn

from supervisor.signals.loss_scale import LONGEST_RUN

BATCHES = healthy_batches(20)
STEPS = 40


class Plain(nn.Sequential):
    """Nothing that a discarded step would draw or keep."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def mixed(
    dtype: torch.dtype | None = torch.float16,
    *,
    weight: float = 1.0,
    model: Callable[[], nn.Module] = Plain,
    **scaler: Any,
) -> Training:
    """A training under autocast with a scaler; a heavier loss overflows sooner."""
    training = build(model=model, optimizer="adam", scheduler="cosine")
    inner = training.loss

    def loss(batch: Any) -> Tensor:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            return inner(batch) * weight

    training.loss = loss
    training.scaler = torch.amp.GradScaler("cpu", **scaler)
    return training


def bare(
    training: Training, *, steps: int = STEPS, max_norm: float | None = None, accumulate: int = 1
) -> tuple[dict[str, Any], int]:
    """The loop of torch's documentation, with the schedule moved by applied steps alone; and how many were skipped."""
    scaler, skipped = training.scaler, 0
    for step in range(steps):
        training.optimizer.zero_grad()
        for part in range(accumulate):
            batch = BATCHES[(step * accumulate + part) % len(BATCHES)]
            scaler.scale(training.loss(batch) / accumulate).backward()
        scaler.unscale_(training.optimizer)
        if max_norm is not None:
            nn.utils.clip_grad_norm_(training.model.parameters(), max_norm)
        before = scaler.get_scale()
        scaler.step(training.optimizer)
        scaler.update()
        if scaler.get_scale() < before:
            skipped += 1
        elif training.scheduler is not None:
            training.scheduler.step()
    return everything(training), skipped


def broken_from(first: int, training: Training) -> Callable[[Any], Tensor]:
    """A loss that is finite, with a gradient that is not from the given call on."""
    calls = iter(range(10**6))

    def loss(batch: Any) -> Tensor:
        weight = next(training.model.parameters())
        # The derivative of the square root at zero is infinite.
        poison = (weight - weight.detach()).sum().sqrt()
        return training.loss(batch) + (poison if next(calls) >= first else 0.0)

    return loss


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("max_norm", [None, 0.1])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_healthy_run_is_bit_identical(dtype: torch.dtype, max_norm: float | None, accumulate: int) -> None:
    options = {"init_scale": 256.0, "growth_interval": 11}
    expected, skipped = bare(mixed(dtype, **options), max_norm=max_norm, accumulate=accumulate)
    training = mixed(dtype, **options)
    clip = None if max_norm is None else {"max_norm": max_norm}
    summary = guard_of(training, BATCHES, policy=quiet(gradient_clip=clip), accumulate=accumulate).run(STEPS)
    assert (skipped, summary.applied_steps) == (0, STEPS)
    assert_same(everything(training), expected)


@pytest.mark.parametrize("max_norm", [None, 0.1])
@pytest.mark.parametrize("weight", [1.0, 64.0, 4096.0])
def test_a_run_in_which_the_scaler_skips_is_bit_identical(weight: float, max_norm: float | None) -> None:
    """The first scale is too high, and one that grows every third step is so again and again."""
    options: dict[str, Any] = {"weight": weight, "init_scale": 2.0**20, "growth_interval": 3}
    expected, skipped = bare(mixed(**options), max_norm=max_norm)
    assert skipped > 8
    training, heard = mixed(**options), EventList()
    clip = None if max_norm is None else {"max_norm": max_norm}
    summary = guard_of(training, BATCHES, policy=quiet(gradient_clip=clip), listeners=[heard]).run(STEPS)
    assert (summary.incidents, heard.actions()) == (0, [])
    assert summary.applied_steps == STEPS - skipped
    assert training.scaler.get_scale() == expected["scaler"]["scale"]
    assert_same(everything(training), expected)


def flagged(guard: Any, steps: int) -> list[tuple[int, Any]]:
    """Step and scale of each update that the ladder answered."""
    found = []
    for batch in guard.batches(steps):
        outcome = guard.step(batch)
        if outcome.action is not None:
            found.append((outcome.step, outcome.signals[0].details["loss_scale"]))
    return found


def test_a_scale_that_collapses_is_an_incident() -> None:
    training, heard = mixed(None, init_scale=65536.0), EventList()
    loss = broken_from(5, training)
    found = flagged(guard_of(training, BATCHES, loss=loss, listeners=[heard]), 5 + LONGEST_RUN + 2)
    assert found == [(13, 65536.0 / 2**8), (14, 65536.0 / 2**9)]
    assert len(heard.named("incident_opened")) == 1
    assert heard.actions() == ["skip_batch", "skip_batch"]
    assert_finite(training)


def test_overflows_that_end_in_time_are_none() -> None:
    training = mixed(None, init_scale=65536.0)
    summary = guard_of(training, BATCHES, loss=broken_from(1, training)).run(1 + LONGEST_RUN)
    assert (summary.incidents, summary.applied_steps, summary.skipped_steps) == (0, 1, 0)


def test_the_count_survives_a_resume(tmp_path: Path) -> None:
    options: dict[str, Any] = {"policy": quiet(checkpoint={"every_steps": 1}), "run_dir": tmp_path / "run"}
    training = mixed(None, init_scale=65536.0)
    guard = guard_of(training, BATCHES, loss=broken_from(2, training), **options)
    assert flagged(guard, 7) == []
    guard.close()
    training = mixed(None, init_scale=65536.0)
    resumed = guard_of(training, BATCHES, loss=broken_from(0, training), **options, resume=True)
    assert flagged(resumed, 11) == [(10, 256.0)]
    resumed.close()


def test_a_scale_on_its_floor_is_an_incident_from_the_first_step_on() -> None:
    training = mixed(None, init_scale=4.0)
    assert flagged(guard_of(training, BATCHES, loss=broken_from(0, training)), 4) == [(2, 1.0), (3, 0.5)]


def test_what_is_wrong_with_the_data_is_never_excused() -> None:
    training = mixed(torch.float16, init_scale=65536.0)
    data = [nan_batch(batch) if number in (0, 4) else batch for number, batch in enumerate(BATCHES)]
    found = flagged(guard_of(training, data), 8)
    assert found == [(0, 65536.0), (4, 32768.0)]
    assert_finite(training)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_batches_are_judged_without_moving_the_scale(accumulate: int) -> None:
    training = mixed(torch.float16, init_scale=1024.0, growth_interval=1000)
    data = [nan_batch(batch) if number == 5 else batch for number, batch in enumerate(BATCHES)]
    guard = guard_of(training, data, accumulate=accumulate, policy=quiet())
    outcomes = [guard.step(batch) for batch in guard.batches(4)]
    at = 5 // accumulate
    assert [outcome.applied for outcome in outcomes] == [step != at for step in range(4)]
    assert outcomes[at].signals[0].details["batches"] == (str(5 % accumulate),)
    # One back-off, the scaler's own; and no scale reaches from one update into the next.
    assert training.scaler.get_scale() == 512.0
    assert training.scaler.state_dict()["_growth_tracker"] == 3 - at


@pytest.mark.parametrize("accumulate", [2])
def test_an_overflow_that_the_scale_alone_brings_about_is_no_batchs_fault(accumulate: int) -> None:
    training = mixed(torch.float16, weight=64.0, init_scale=2.0**20)
    guard = guard_of(training, BATCHES, accumulate=accumulate)
    first = next(iter(guard.batches(4)))
    outcome = guard.step(first)
    assert (outcome.applied, outcome.action) == (False, None)
    assert "batches" not in outcome.signals[0].details
    assert next(iter(guard.batches(4)))[0] is BATCHES[accumulate]


@pytest.mark.parametrize("bad", [None, 5])
@pytest.mark.parametrize("action", ["skip_batch", "reload_checkpoint"])
def test_a_scaler_that_is_switched_off_is_none(bad: int | None, action: str, tmp_path: Path) -> None:
    """`GradScaler(enabled=False)`, as scripts write it that also run without mixed precision."""
    batches = [nan_batch(batch) if at == bad else batch for at, batch in enumerate(BATCHES)]
    policy = quiet(ladder=[{"action": action}, {"action": "halt"}], checkpoint={"every_steps": 5})
    trained, summaries = [], []
    for scaled in (False, True):
        training = mixed(None, enabled=False)
        training.scaler = training.scaler if scaled else None
        summaries.append(guard_of(training, batches, policy=policy, run_dir=tmp_path / f"{scaled}").run(12))
        trained.append({**everything(training), "scaler": None})
    assert summaries[0].applied_steps == summaries[1].applied_steps == 12 - (bad is not None and action == "skip_batch")
    assert_same(*trained)
