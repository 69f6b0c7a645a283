"""Faults of the step and of its process: they really raise, allocate, spike, hang and kill."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from typing import Any

import pytest
import torch

from supervisor.errors import InputError
from supervisor.faults.model import ForwardException, Hang, KillWorker, LrSpike, OutOfMemory, SlowStep
from supervisor.faults.step import InjectedError, StepFaults
from supervisor.testing.tiny import TinyTrainer


def at(kind: Any, **fields: Any) -> Any:
    return kind(at_batch=0, **fields)


def test_an_exception_of_the_loss_function_is_raised_at_once() -> None:
    strike = StepFaults(TinyTrainer()).prepare(at(ForwardException), 0)
    assert strike.target is None
    with pytest.raises(InjectedError, match="forward_exception was injected"):
        strike.do()


@pytest.mark.parametrize("glob", ["norm", "BatchNorm*", "no*m"])
def test_an_exception_of_a_module_comes_out_of_its_next_forward_pass_alone(glob: str) -> None:
    trainer = TinyTrainer()
    faults = StepFaults(trainer)
    faults.check(at(ForwardException, module=glob))
    strike = faults.prepare(at(ForwardException, module=glob), 0)
    assert strike.target == "norm"
    trainer.loss(trainer.data[0])
    strike.do()
    with pytest.raises(InjectedError, match="injected into norm"):
        trainer.loss(trainer.data[0])
    assert torch.isfinite(trainer.loss(trainer.data[0]))


def test_a_glob_that_matches_no_module_is_refused() -> None:
    with pytest.raises(InputError, match="'nrom' matches no module: write one of: norm"):
        StepFaults(TinyTrainer()).check(at(ForwardException, module="nrom"))


def test_memory_runs_out_as_it_really_does() -> None:
    strike = StepFaults(TinyTrainer()).prepare(at(OutOfMemory), 0)
    assert strike.target == "cpu"
    with pytest.raises(RuntimeError, match=r"(?i)memory"):
        strike.do()


def test_a_rate_is_spiked_for_its_batches_and_put_back_after_each_step() -> None:
    trainer = TinyTrainer()
    faults = StepFaults(trainer)
    weight = trainer.model.get_parameter("outer.weight")
    seen = []
    for number, batch in enumerate(trainer.data[:6]):
        faults.release(number)
        if number == 2:
            faults.prepare(at(LrSpike, factor=100.0, batches=2), number).do()
        before = weight.detach().clone()
        trainer.optimizer.zero_grad()
        trainer.loss(batch).backward()  # type: ignore[no-untyped-call]
        trainer.optimizer.step()
        assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.01]
        seen.append(float((weight.detach() - before).abs().max()))
    # A step of Adam is about as long as its rate.
    assert [moved > 0.1 for moved in seen] == [False, False, True, True, False, False]


def test_two_spikes_at_once_multiply() -> None:
    trainer = TinyTrainer()
    faults = StepFaults(trainer)
    rates: list[float] = []
    for factor in (3.0, 5.0):
        faults.prepare(at(LrSpike, factor=factor), 0).do()
    trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.loss(trainer.data[0]).backward()  # type: ignore[no-untyped-call]
    trainer.optimizer.step()
    assert rates == [pytest.approx(0.15)]


def test_a_killed_worker_is_killed_by_the_signal_that_none_can_catch() -> None:
    strike = StepFaults(TinyTrainer()).prepare(at(KillWorker), 0)
    assert strike.target == f"pid {os.getpid()}"
    child = multiprocessing.get_context("fork").Process(target=strike.do)
    child.start()
    child.join(timeout=30)
    assert child.exitcode == -signal.SIGKILL


def test_a_slow_step_sleeps_and_goes_on_and_a_hang_sleeps_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    faults, slept = StepFaults(TinyTrainer()), []
    monkeypatch.setattr("time.sleep", slept.append)
    faults.prepare(at(SlowStep, seconds=1.5), 0).do()
    assert slept == [1.5]

    class WokenError(Exception):
        pass

    naps = itertools.count()

    def nap(_seconds: float) -> None:
        if next(naps) == 100:
            raise WokenError

    monkeypatch.setattr("time.sleep", nap)
    with pytest.raises(WokenError):
        faults.prepare(at(Hang), 0).do()
