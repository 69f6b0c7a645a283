"""Invariant 8: under any fault schedule the run finishes, or halts within its limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.exact import assert_finite, seed_all
from support.training import EventList, Training, quiet
from torch import Tensor, nn

from supervisor import Guard

STEPS = 60
BATCH = (torch.ones(2, 3), torch.ones(2, 1))
BAD = "nan_loss", "nan_gradient", "nan_weight", "nan_moment", "exception"

SMALL = {
    "snapshot": {"every_steps": 5, "keep": 2},
    "probation_steps": 3,
    "cooldown_steps": 3,
    "detect": {"state_every_steps": 5},
}
SHORT_WINDOWS = [
    {"action": "skip_batch", "attempts": 2, "limit": {"uses": 2, "window_updates": 8}},
    {"action": "lower_lr", "attempts": 1, "restore_after_steps": 10, "limit": {"uses": 1, "window_updates": 8}},
    {"action": "reload_checkpoint", "attempts": 2, "limit": {"uses": 2, "window_updates": 12}},
    {"action": "reinitialize", "attempts": 1, "modules": ["0"], "limit": {"uses": 1, "window_updates": 12}},
]


class TooLong(BaseException):
    """The run goes on for ever; no `except Exception` may hide it."""


def tiny() -> Training:
    seed_all(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return Training(model, optimizer, None, lambda batch: (model(batch[0]) - batch[1]).square().mean())


def run(
    fault_of: Callable[[int, Guard], str | None], *, policy: dict[str, Any], updates: int, data: Any = (BATCH,)
) -> tuple[Guard, Training, EventList]:
    """A run of `STEPS` steps with the fault that `fault_of(update, guard)` names; more than `updates` is too long."""
    training, heard, counted = tiny(), EventList(), itertools.count()
    parameters = list(training.model.parameters())

    def loss(batch: Any) -> Tensor:
        update = next(counted)
        if update >= updates:
            raise TooLong(f"{update} updates, at step {guard.steps_done} of {STEPS}")
        value, kind = training.loss(batch), fault_of(update, guard)
        match kind:
            # With their graph: a loss without one is a mistake in the program, which halts.
            case "nan_loss":
                return value * math.nan
            case "nan_gradient":
                return value + (parameters[0] * 0).sum().sqrt() * 0
            case "nan_weight":
                parameters[0].detach().view(-1)[0] = math.nan
            case "nan_moment" if training.optimizer.state.get(parameters[0]):
                training.optimizer.state[parameters[0]]["exp_avg_sq"].view(-1)[0] = math.nan
            case "exception":
                raise RuntimeError("a fault")
        return value

    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=loss,
        data=list(data),
        policy=quiet(**policy),
        listeners=[heard],
    )
    try:
        summary = guard.run(STEPS)
    except RuntimeError as raised:
        # What is raised for each of the first batches is the program's, and ends it.
        if str(raised) != "a fault" or training.optimizer.state:
            raise
        assert_finite(training)
        return guard, training, heard
    assert summary.status in ("finished", "halted")
    if summary.status == "finished":
        assert summary.steps == STEPS
    assert_finite(training)
    assert [event.event for event in heard][-1] in ("run_finished", "run_halted")
    return guard, training, heard


@given(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(BAD), st.integers(1, 4)), max_size=12),
    st.sampled_from(["advance", "replay"]),
)
def test_any_schedule_of_faults_ends_with_finite_weights(schedule: list[tuple[int, str, int]], data: str) -> None:
    faults: dict[int, str] = {}
    at = 0
    for gap, kind, count in schedule:
        at += gap
        faults.update(dict.fromkeys(range(at, at + count), kind))
        at += count
    ladder = [{**rung, **({"data": data} if rung["action"] == "reload_checkpoint" else {})} for rung in SHORT_WINDOWS]
    run(lambda update, _: faults.get(update), policy={**SMALL, "ladder": ladder}, updates=2000, data=[BATCH] * 7)


@given(st.integers(1, 40), st.sampled_from(BAD), st.integers(0, 30))
def test_a_fault_that_comes_for_ever_at_a_fixed_distance_ends(every: int, kind: str, start: int) -> None:
    """Also just slower than the windows of the limits slide, and just slower than incidents close."""
    policy = {**SMALL, "ladder": SHORT_WINDOWS}
    run(
        lambda update, _: kind if update >= start and (update - start) % every == 0 else None,
        policy=policy,
        updates=4000,
    )


@pytest.mark.parametrize("data", ["advance", "replay"])
@pytest.mark.parametrize("after", range(8))
def test_a_fault_so_many_steps_after_every_reload_ends(after: int, data: str) -> None:
    heard_reloads: list[int] = []
    since = [0]

    def fault(update: int, guard: Guard) -> str | None:
        step = guard.steps_done
        since[0] = 0 if step <= (heard_reloads[-1] if heard_reloads else 0) else since[0] + 1
        heard_reloads.append(step)
        return "nan_weight" if since[0] == after else None

    ladder = [{"action": "reload_checkpoint", "attempts": 2, "data": data, "limit": {"uses": 2, "window_updates": 4}}]
    run(fault, policy={**SMALL, "ladder": ladder}, updates=3000, data=[BATCH] * 5)


@pytest.mark.parametrize("every_step", [1, 7, 12, 13, 14, 25])
def test_a_step_that_always_fails_ends_however_far_it_lies(every_step: int) -> None:
    """The schedule never gets past it: going back without progress is limited however slowly it happens."""

    def fault(update: int, guard: Guard) -> str | None:
        return "nan_weight" if guard.steps_done == every_step else None

    guard, _, heard = run(fault, policy={**SMALL, "ladder": SHORT_WINDOWS}, updates=3000)
    assert guard.status == "halted"
    assert heard.named("run_halted")[0].reason


def test_bad_data_for_good_halts_after_the_sum_of_all_attempts() -> None:
    policy = {**SMALL, "ladder": SHORT_WINDOWS}
    guard, _training, heard = run(lambda update, _: "nan_loss" if update >= 30 else None, policy=policy, updates=200)
    assert guard.status == "halted"
    expected = ["skip_batch"] * 2 + ["lower_lr", "reload_checkpoint", "reload_checkpoint", "reinitialize", "halt"]
    assert heard.actions() == expected


def test_a_ladder_of_halt_alone_halts_at_the_first_fault() -> None:
    policy = {**SMALL, "ladder": [{"action": "halt"}]}
    guard, _, heard = run(lambda update, _: "nan_loss" if update == 10 else None, policy=policy, updates=60)
    assert (guard.status, heard.actions()) == ("halted", ["halt"])


def test_faults_at_every_update_from_the_first_halt() -> None:
    guard, _, _ = run(lambda update, _: "nan_loss", policy={**SMALL, "ladder": SHORT_WINDOWS}, updates=60)
    assert guard.status == "halted"
    assert guard.summary().applied_steps == 0


def test_skips_without_a_limit_end_because_each_uses_up_its_step() -> None:
    policy = {**SMALL, "ladder": [{"action": "skip_batch", "attempts": 1000, "limit": None}]}
    guard, _, _ = run(lambda update, _: "nan_loss", policy=policy, updates=2 * STEPS)
    assert guard.status == "finished"
    assert guard.summary().skipped_steps == STEPS
