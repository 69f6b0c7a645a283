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
from torch.utils.hooks import RemovableHandle

from supervisor.faults.model import ForwardException, Hang, KillWorker, LrSpike, OutOfMemory, SlowStep
from supervisor.faults.strike import Strike, unmatched
from supervisor.training.modules import named_modules
from supervisor.training.optimizers import chained, members
from supervisor.training.trainer import Trainer

__all__ = ["InjectedError", "StepFault", "StepFaults"]

StepFault: TypeAlias = LrSpike | ForwardException | OutOfMemory | Hang | KillWorker | SlowStep

ABSURD_BYTES = 1 << 56
"""More than any address space holds: the allocation fails at once, before any memory is taken."""


class InjectedError(RuntimeError):
    """What `forward_exception` raises."""


class StepFaults:
    """Strikes at a trainer's step."""

    def __init__(self, trainer: Trainer) -> None:
        self._model = trainer.model
        self._optimizers = members(chained(trainer.optimizer))
        self._spikes: list[tuple[range, RemovableHandle]] = []

    def check(self, fault: StepFault) -> None:
        """Refuse a fault that could never strike.

        Raises:
            FaultMisfit: its glob matches no module.
        """
        if isinstance(fault, ForwardException) and fault.module is not None:
            self._module(fault.module)

    def release(self, number: int) -> None:
        """End what does not last until batch `number`."""
        for batches, handle in self._spikes:
            if number not in batches:
                handle.remove()
        self._spikes = [each for each in self._spikes if number in each[0]]

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
                return Strike(str(device), lambda: torch.empty(ABSURD_BYTES, dtype=torch.uint8, device=device))
            case Hang():
                return Strike(None, _hang)
            case KillWorker():
                return Strike(f"pid {os.getpid()}", lambda: os.kill(os.getpid(), signal.SIGKILL))
            case SlowStep():
                return Strike(None, lambda: time.sleep(fault.seconds))

    def _spike(self, fault: LrSpike, number: int) -> None:
        batches = range(number, number + fault.batches)
        for optimizer in self._optimizers:
            self._spikes += [(batches, handle) for handle in _multiply_rates(optimizer, fault.factor)]

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


def _hang() -> None:
    while True:
        time.sleep(3600)


def _multiply_rates(optimizer: Optimizer, factor: float) -> tuple[RemovableHandle, RemovableHandle]:
    """Have each step made at `factor` times its rates, until the hooks are removed.

    The nominal rates are put back after each step as they were, and not divided by the factor.
    """
    nominal: list[Any] = []

    def before(*_: Any) -> None:
        nominal[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor

    def after(*_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, nominal, strict=True):
            group["lr"] = rate

    return optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)
