"""A block that is left by a real Ctrl-C, wherever in the guard's own work that comes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import Training, build, guard_of, healthy_batches, nan_batch, quiet

from supervisor.events.schema import Event, RunStatus
from supervisor.guard.block import Block

BATCHES = healthy_batches(8)
BATCHES[4] = nan_batch(BATCHES[4])


@pytest.fixture(autouse=True)
def _handler_as_before() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def amid_the_optimizers_step(training: Training, *, times: int = 1) -> Any:
    calls: list[int] = []

    def hook(*_: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            interrupt(times)

    training.optimizer.register_step_pre_hook(hook)


def at_first(name: str) -> Any:
    seen: list[str] = []

    def listener(event: Event) -> None:
        if event.event == name and not seen:
            seen.append(name)
            interrupt()

    return [listener]


@pytest.mark.parametrize(
    "where", ["optimizer", "signal", "incident_opened", "decision", "action_applied", "run_started"]
)
def test_it_is_interrupted_after_a_whole_step_with_a_checkpoint_of_that(tmp_path: Path, where: str) -> None:
    unbroken = build()
    guard_of(unbroken, BATCHES, policy=quiet(), quiet=True).run(12)
    training = build()
    if where == "optimizer":
        amid_the_optimizers_step(training)
    guard = guard_of(training, BATCHES, policy=quiet(), run_dir=tmp_path / "run", quiet=True, listeners=at_first(where))
    with pytest.raises(KeyboardInterrupt), guard:
        guard.run(12)
    assert guard.status is RunStatus.INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = build(seed=4)
    with guard_of(again, BATCHES, policy=quiet(), run_dir=tmp_path / "run", resume=True, quiet=True) as second:
        assert second.steps_done == guard.steps_done
        assert second.run(12).status is RunStatus.FINISHED
    assert_same(everything(again), everything(unbroken))


def test_one_that_comes_while_the_last_checkpoint_is_written_comes_after_it(tmp_path: Path) -> None:
    guard = guard_of(build(), BATCHES, policy=quiet(), run_dir=tmp_path, quiet=True, listeners=at_first("run_finished"))
    with pytest.raises(KeyboardInterrupt), guard:
        guard.run(6)
    assert guard.status is RunStatus.FINISHED


def test_a_second_one_breaks_the_optimizers_step_off(tmp_path: Path) -> None:
    training = build()
    amid_the_optimizers_step(training, times=2)
    guard = guard_of(training, BATCHES, policy=quiet(), run_dir=tmp_path, quiet=True)
    with pytest.raises(KeyboardInterrupt), guard:
        guard.run(6)
    assert guard.status is RunStatus.UNSAVED


def test_without_a_block_nobody_listens(tmp_path: Path) -> None:
    training = build()
    amid_the_optimizers_step(training)
    guard = guard_of(training, BATCHES, policy=quiet(), run_dir=tmp_path, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        guard.run(6)
    assert guard.status is None
    assert isinstance(guard, Block)
    guard.close()
    assert torch.isfinite(next(iter(training.model.parameters()))).all()
