"""Faults in weights, gradients and optimizer state."""

from __future__ import annotations

import math
from collections.abc import Callable
from fnmatch import fnmatchcase

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from supervisor.faults.model import (
    BitFlip,
    GradientFault,
    InfGradient,
    NanOptimizerState,
    OverflowGradient,
    ParameterFault,
)
from supervisor.faults.strike import FaultMisfit, Strike, unmatched
from supervisor.training.modules import named_parameters
from supervisor.training.optimizers import chained
from supervisor.training.trainer import Trainer

__all__ = ["TensorFaults"]

OVERFLOWING = 1e30
_BITS = {
    torch.float64: (torch.int64, 62),
    torch.float32: (torch.int32, 30),
    torch.float16: (torch.int16, 14),
    torch.bfloat16: (torch.int16, 14),
}
"""For each type the integer of its size, and the highest bit of its exponent."""


class TensorFaults:
    """Strikes at a trainer's tensors."""

    def __init__(self, trainer: Trainer) -> None:
        self._optimizer = chained(trainer.optimizer)
        self._parameters = named_parameters(trainer.model)
        self._handles: list[RemovableHandle] = []

    def check(self, fault: ParameterFault) -> None:
        """Refuse a fault that could never strike.

        Raises:
            FaultMisfit: its glob matches no parameter, or its bit is none of the parameter's.
        """
        name, parameter = self._hit(fault)
        if isinstance(fault, BitFlip):
            if parameter.dtype not in _BITS:
                raise FaultMisfit(f"{name} is of type {parameter.dtype}: choose another", "parameter")
            bits = 8 * parameter.element_size()
            if fault.bit is not None and fault.bit >= bits:
                raise FaultMisfit(f"{fault.bit}: {name} has {bits} bits: write less", "bit")

    def prepare(self, fault: ParameterFault | OverflowGradient) -> Strike | None:
        """The strike; None while there is nothing to write to."""
        if isinstance(fault, OverflowGradient):
            return Strike(None, self._overflow)
        name, parameter = self._hit(fault)
        if isinstance(fault, GradientFault):
            value = math.inf if isinstance(fault, InfGradient) else math.nan
            return Strike(name, lambda: self._on_gradient(parameter, lambda gradient: _write(gradient, value)))
        if isinstance(fault, NanOptimizerState):
            held = self._optimizer.state.get(parameter, {}).get(fault.state_key)
            if not isinstance(held, Tensor):
                return None
            return Strike(f"{name}.{fault.state_key}", lambda: _write(held, math.nan))
        if isinstance(fault, BitFlip):
            return Strike(name, lambda: _turn_bit(parameter.data, fault))
        return Strike(name, lambda: _write(parameter.data, math.nan))

    def release(self) -> None:
        """Remove the hooks, so that the next backward pass is sound."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _overflow(self) -> None:
        for parameter in self._parameters.values():
            self._on_gradient(parameter, _blow_up)

    def _on_gradient(self, parameter: Tensor, change: Callable[[Tensor], None]) -> None:
        def hook(accumulated: Tensor) -> None:
            if accumulated.grad is not None:
                change(accumulated.grad)

        if parameter.requires_grad:
            self._handles.append(parameter.register_post_accumulate_grad_hook(hook))  # type: ignore[no-untyped-call]

    def _hit(self, fault: ParameterFault) -> tuple[str, Tensor]:
        pattern = fault.parameter.lower()
        for name, parameter in self._parameters.items():
            if fnmatchcase(name.lower(), pattern):
                return name, parameter
        raise unmatched("parameter", fault.parameter, self._parameters)


@torch.no_grad()
def _write(tensor: Tensor, value: float) -> None:
    tensor.view(-1)[0] = value


@torch.no_grad()
def _turn_bit(tensor: Tensor, fault: BitFlip) -> None:
    integer, highest = _BITS[tensor.dtype]
    bit = highest if fault.bit is None else fault.bit
    bits = tensor.view(-1).view(integer)
    # The sign bit's own value does not fit into a signed integer of its size.
    mask = -(1 << bit) if bit == 8 * tensor.element_size() - 1 else 1 << bit
    bits[fault.element % bits.numel()] ^= mask


@torch.no_grad()
def _blow_up(gradient: Tensor) -> None:
    largest = gradient.abs().max()
    gradient.mul_(torch.where(largest > 0, OVERFLOWING / largest, torch.ones_like(largest)))
