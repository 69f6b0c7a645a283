"""A diagnosis that raises, hangs, runs out of memory or out of replays leaves the run as it was."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, Training, build, guard_of, healthy_batches, quiet
from torch import Tensor

from supervisor.diagnosis.diagnose import Overrun, time_limit

BATCHES = healthy_batches(12)
AT = 5


def raises() -> None:
    raise RuntimeError("not twice")


def exhausts_memory() -> None:
    torch.empty(2**50)


def exhausts_pythons_memory() -> None:
    raise MemoryError


def hangs() -> None:
    while True:
        pass


class OnReplay:
    """A loss that is NaN at batch `AT`, and goes wrong otherwise when the same batch comes a second time."""

    def __init__(self, training: Training, fault: Callable[[], None]) -> None:
        self._training = training
        self._fault = fault
        self._seen = 0

    def __call__(self, batch: Any) -> Tensor:
        loss = self._training.loss(batch)
        if batch is BATCHES[AT]:
            self._seen += 1
            if self._seen > 1:
                self._fault()
            return loss * math.nan
        return loss


FAULTS = {
    "raises": (raises, "not twice"),
    "memory": (exhausts_memory, "memory"),
    "python_memory": (exhausts_pythons_memory, "MemoryError"),
    "hangs": (hangs, "longer than its 0.2 s"),
}


def everything_but_skipped(training: Training) -> dict[str, Any]:
    """What a plain loop over the other batches ends with."""
    for batch in (b for b in BATCHES if b is not BATCHES[AT]):
        training.optimizer.zero_grad()
        training.loss(batch).backward()
        training.optimizer.step()
    return everything(training)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_diagnosis_that_fails_leaves_the_run_as_it_was(fault: str, tmp_path: Path) -> None:
    expected = everything_but_skipped(build(draws=True, average=True))
    training, heard = build(draws=True, average=True), EventList()
    goes_wrong, message = FAULTS[fault]
    policy = quiet(diagnose={"max_seconds": 0.2 if fault == "hangs" else 30.0})
    loss = OnReplay(training, goes_wrong)
    guard = guard_of(training, BATCHES, loss=loss, policy=policy, listeners=[heard], run_dir=tmp_path / "run")
    guard.run(len(BATCHES))
    guard.close()
    assert_same(everything(training), expected)
    assert heard.named("diagnosis") == []
    assert [message in event.message for event in heard.named("warning")] == [True]
    record = json.loads((tmp_path / "run" / "incidents" / "0001" / "incident.json").read_text(encoding="utf-8"))
    assert record["cause"] is None
    assert record["outcome"] == "open"
    assert not hooked(training)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_diagnosis_that_ends_well_leaves_it_likewise(accumulate: int) -> None:
    """Modes, hooks and gradients too; the search runs through all its replays here."""

    def spoilt(guarded: Training) -> Callable[[Any], Tensor]:
        def loss(batch: Any) -> Tensor:
            value = guarded.loss(batch)
            return value * math.nan if batch[0].shape[1:] == (6,) and guard.steps_done == 2 else value

        return loss

    training, heard = build(draws=True, average=True), EventList()
    guard = guard_of(training, BATCHES, loss=spoilt(training), accumulate=accumulate, listeners=[heard])
    steps = guard.batches(3)
    guard.step(next(steps))
    guard.step(next(steps))
    before, modes = everything(training), [module.training for module in training.model.modules()]
    assert guard.step(next(steps)).action == "skip_batch"
    assert_same(everything(training), before)
    assert [module.training for module in training.model.modules()] == modes
    assert all(parameter.grad is None for parameter in training.model.parameters())
    assert not hooked(training)
    assert [str(event.kind) for event in heard.named("diagnosis")] == ["loss_function"]


def test_a_gradient_scaler_is_left_as_its_own_back_off_left_it() -> None:
    scales = []
    for enabled in (False, True):
        training = build()
        training.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        loss = OnReplay(training, lambda: None)
        guard = guard_of(training, BATCHES, loss=loss, policy=quiet(diagnose={"enabled": enabled}))
        guard.run(len(BATCHES))
        scales.append((training.scaler.state_dict(), everything(training)["parameters"]))
    assert_same({"": scales[0]}, {"": scales[1]})


@pytest.mark.parametrize("hanging", [False, True])
def test_values_replaced_in_replays_are_not_counted(hanging: bool) -> None:
    training = build()
    counted, strikes = [0], []

    def loss(batch: Any) -> Tensor:
        counted[0] += 3
        if hanging and batch is BATCHES[AT] and strikes:
            hangs()
        strikes.extend([True] if batch is BATCHES[AT] else [])
        return training.loss(batch) * (math.nan if batch is BATCHES[AT] else 1.0)

    def sanitized() -> Tensor:
        count, counted[0] = counted[0], 0
        return torch.tensor(count)

    policy = quiet(diagnose={"max_seconds": 0.2 if hanging else 30.0})
    guard = guard_of(training, BATCHES, loss=loss, sanitized=sanitized, policy=policy)
    outcomes = [guard.step(batch) for batch in guard.batches(AT + 2)]
    assert outcomes[AT].action == "skip_batch"
    assert [signal.details["count"] for signal in outcomes[AT + 1].signals] == [3]


def test_an_incident_has_so_many_replays_and_no_more() -> None:
    training, heard = build(), EventList()
    calls = [0]

    def loss(batch: Any) -> Tensor:
        calls[0] += 1
        return training.loss(batch) * (math.nan if guard.steps_done >= 2 else 1.0)

    ladder = [{"action": "skip_batch", "attempts": 8}]
    guard = guard_of(
        training, BATCHES, loss=loss, listeners=[heard], policy=quiet(ladder=ladder, diagnose={"max_replays": 10})
    )
    guard.run(9)
    assert calls[0] == 9 + 10
    assert sum(event.replays for event in heard.named("diagnosis")) <= 10


def test_no_replays_where_the_policy_wants_none() -> None:
    training, heard = build(), EventList()
    loss = OnReplay(training, raises)
    policy = quiet(diagnose={"enabled": False})
    guard_of(training, BATCHES, loss=loss, policy=policy, listeners=[heard]).run(len(BATCHES))
    assert heard.named("diagnosis", "warning") == []
    assert heard.actions() == ["skip_batch"]


def test_a_batch_that_samples_cannot_be_taken_from_is_diagnosed_all_the_same() -> None:
    training, heard = build(), EventList()

    def loss(batch: Any) -> Tensor:
        if len(batch[0]) != 8:
            raise ValueError("eight rows, or none")
        return training.loss(batch) * (math.nan if batch is BATCHES[AT] else 1.0)

    guard_of(training, BATCHES, loss=loss, listeners=[heard]).run(len(BATCHES))
    assert [str(event.kind) for event in heard.named("diagnosis")] == ["loss_function"]


def hooked(training: Training) -> list[str]:
    return [name for name, m in training.model.named_modules() if m._forward_hooks or m._forward_pre_hooks]


def test_the_time_limit_interrupts_python_code() -> None:
    with pytest.raises(Overrun), time_limit(0.05):
        hangs()


def test_nothing_is_raised_once_the_block_was_left() -> None:
    """The limit falls now inside the block, now beside its end: what comes after it always runs to its own end."""
    unharmed = 0
    for _ in range(200):
        with contextlib.suppress(Overrun), time_limit(0.0005):
            sum(range(20_000))
        unharmed += sum(range(1000)) == 499_500
    assert unharmed == 200
