"""Faults of the step and of the process it runs in."""

from __future__ import annotations

import os
import signal
import time
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer

from supervisor.faults.model import ForwardException, Hang, KillWorker, LrSpike, OutOfMemory, SlowStep
from supervisor.faults.strike import Strike, unmatched
from supervisor.training.modules import named_modules
from supervisor.training.optimizers import chained, members
from supervisor.training.trainer import Trainer

__all__ = ["InjectedError", "StepFault", "StepFaults"]

StepFault: TypeAlias = LrSpike | ForwardException | OutOfMemory | Hang | KillWorker | SlowStep

ABSURD_BYTES = 1 << 56
"""More than any address space holds, so that nothing is taken from anyone before it fails."""


class InjectedError(RuntimeError):
    """What `forward_exception` raises."""


class StepFaults:
    """Strikes at the step.

    Args:
        trainer: the trainer.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._model = trainer.model
        self._optimizers = members(chained(trainer.optimizer))
        self._spikes: list[_Spike] = []

    def check(self, fault: StepFault) -> None:
        """Refuse a fault that could never strike.

        Raises:
            FaultMisfit: its glob matches no module.
        """
        if isinstance(fault, ForwardException) and fault.module is not None:
            self._module(fault.module)

    def release(self, number: int) -> None:
        """End what does not last until batch `number`."""
        for spike in [spike for spike in self._spikes if number not in spike.batches]:
            spike.end()
            self._spikes.remove(spike)

    def prepare(self, fault: StepFault, number: int) -> Strike:
        """The strike at batch `number`."""
        match fault:
            case LrSpike():
                return Strike("param_groups.lr", lambda: self._spike(fault, number))
            case ForwardException(module=None):
                return Strike(None, _raise)
            case ForwardException():
                name, module = self._module(str(fault.module))
                return Strike(name, lambda: _raise_in(module, name))
            case OutOfMemory():
                device = next((parameter.device for parameter in self._model.parameters()), torch.device("cpu"))
                return Strike(str(device), lambda: _allocate(device))
            case Hang():
                return Strike(None, _hang)
            case KillWorker():
                return Strike(f"pid {os.getpid()}", _kill)
            case SlowStep():
                return Strike(None, lambda: time.sleep(fault.seconds))

    def _spike(self, fault: LrSpike, number: int) -> None:
        batches = range(number, number + fault.batches)
        self._spikes += [_Spike(each, fault.factor, batches) for each in self._optimizers]

    def _module(self, pattern: str) -> tuple[str, nn.Module]:
        modules = dict(named_modules(self._model))
        for name, module in modules.items():
            if name and any(fnmatchcase(each.lower(), pattern.lower()) for each in (name, type(module).__name__)):
                return name, module
        raise unmatched("module", pattern, (name for name in modules if name))


def _raise() -> None:
    raise InjectedError("forward_exception was injected")


def _raise_in(module: nn.Module, name: str) -> None:
    def hook(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        handle.remove()
        raise InjectedError(f"forward_exception was injected into {name}")

    handle = module.register_forward_hook(hook)


def _allocate(device: torch.device) -> None:
    torch.empty(ABSURD_BYTES, dtype=torch.uint8, device=device)


def _hang() -> None:
    while True:
        time.sleep(3600)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Spike:
    """Has each step made at another rate; the nominal one is put back after it, as it was.

    Args:
        optimizer: the optimizer.
        factor: what its rates are multiplied by.
        batches: the numbers of the batches whose steps are made so.
    """

    def __init__(self, optimizer: Optimizer, factor: float, batches: range) -> None:
        self.batches = batches
        self._optimizer = optimizer
        self._factor = factor
        self._nominal: list[Any] = []
        self._handles = (
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        )

    def end(self) -> None:
        """Leave the optimizer alone."""
        for handle in self._handles:
            handle.remove()

    def _before(self, *_: Any) -> None:
        self._nominal = [group["lr"] for group in self._optimizer.param_groups]
        for group in self._optimizer.param_groups:
            group["lr"] = group["lr"] * self._factor

    def _after(self, *_: Any) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._nominal, strict=True):
            group["lr"] = rate
