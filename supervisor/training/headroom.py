"""Measures how far parameters and gradients are from their limits, within the one read of the state check."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from supervisor.headroom import Headroom
from supervisor.training.norms import can_rot, extremes, norms_in_order, sums
from supervisor.training.optimizers import AnyOptimizer

__all__ = ["HALF_TYPES", "HeadroomReading"]

HALF_TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
"""The types of 16 bits, by name."""

_SECOND_MOMENT = "exp_avg_sq"
"""What Adam and its kin call it in a parameter's state."""

_STEP = "step"
"""Likewise the number of updates that the moment has seen."""


@dataclass(slots=True)
class _Group:
    """The parameters of one group that have a gradient and a second moment."""

    beta2: float
    names: list[str] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    moments: list[Tensor] = field(default_factory=list)
    steps: list[Tensor | float] = field(default_factory=list)


class HeadroomReading:
    """Says which numbers are needed, and makes a `Headroom` of them once they are read.

    Args:
        names: every parameter's name; the very dict that those which come later are added to.
        optimizer: its state is looked at, and never changed.
        computed_in: the 16-bit type in which autocast computes with parameters of 32 bits; None without autocast.
        due: whether anybody wants to know after the update of this number.
    """

    def __init__(
        self,
        names: Mapping[Tensor, str],
        optimizer: AnyOptimizer,
        computed_in: torch.dtype | None = None,
        due: Callable[[int], bool] = lambda update: True,
    ) -> None:
        self.due = due
        self._names = names
        self._optimizer = optimizer
        self._computed_in = computed_in
        self._held: list[Tensor] = []
        self._groups: list[_Group] = []

    @torch.no_grad()
    def parts(self) -> list[Tensor]:
        """What is to be read, 0-dimensional, on whatever devices; `made_of` takes the values in this order."""
        self._held = [parameter for parameter in self._names if can_rot(parameter)]
        self._groups = [*self._adam_like()]
        parts = extremes(self._held)
        for group in self._groups:
            parts += [each.reshape(()) if each.dim() else each for each in group.steps if isinstance(each, Tensor)]
            parts += norms_in_order(group.gradients)
            parts += sums(group.moments)
        return parts

    def made_of(self, values: Sequence[float]) -> Headroom:
        """The measurement, of the values of `parts`."""
        read = iter(values)
        largest = dict[str, float]()
        limits = dict[str, float]()
        for parameter in self._held:
            low, high = abs(next(read)), abs(next(read))
            # Where one is NaN both are.
            value = max(low, high)
            if math.isfinite(value):
                name = self._names[parameter]
                largest[name] = value
                limit = self._limit(parameter.dtype)
                if limit is not None:
                    limits[name] = limit
        return Headroom(largest, limits, *self._energy(read))

    def _energy(self, read: Iterator[float]) -> tuple[float | None, str | None, float | None]:
        squares = expected = 0.0
        most, at, memory = -math.inf, None, 0.0
        for group in self._groups:
            steps = [next(read) if isinstance(each, Tensor) else each for each in group.steps]
            gradients = [next(read) for _ in group.names]
            moments = [next(read) for _ in group.names]
            memory = max(memory, 1.0 / (1.0 - group.beta2))
            for name, gradient, moment, step in zip(group.names, gradients, moments, steps, strict=True):
                correction = 1.0 - group.beta2**step
                moment = moment / correction if correction > 0 else math.nan
                squares += gradient * gradient
                expected += moment
                if gradient * gradient - moment > most:
                    most, at = gradient * gradient - moment, name
        if not (expected > 0 and math.isfinite(squares) and math.isfinite(expected)):
            return None, None, None
        return squares / expected, at, memory

    def _adam_like(self) -> Iterator[_Group]:
        states: Mapping[Tensor, Any] = self._optimizer.state
        for options in self._optimizer.param_groups:
            betas = options.get("betas")
            beta2 = betas[1] if isinstance(betas, (tuple, list)) and len(betas) == 2 else None
            if not isinstance(beta2, float) or not 0 <= beta2 < 1:
                continue
            group = _Group(beta2)
            for parameter in options["params"]:
                state = states.get(parameter)
                if parameter.grad is None or not isinstance(state, Mapping):
                    continue
                moment, step = state.get(_SECOND_MOMENT), state.get(_STEP)
                # Some keep one number for a row or a matrix, which is a mean of squares and no sum.
                if not isinstance(moment, Tensor) or moment.shape != parameter.shape or not can_rot(moment):
                    continue
                # Of each parameter its own: one that was trained later than the rest of its group has taken fewer.
                if not isinstance(step, (int, float)) and not (isinstance(step, Tensor) and step.numel() == 1):
                    continue
                group.names.append(self._names.get(parameter, ""))
                group.gradients.append(parameter.grad)
                group.moments.append(moment)
                group.steps.append(step)
            if group.names:
                yield group

    def _limit(self, dtype: torch.dtype) -> float | None:
        if dtype is torch.float32 and self._computed_in is not None:
            dtype = self._computed_in
        return torch.finfo(dtype).max if dtype in HALF_TYPES.values() else None
