"""Adaptive clipping inside the optimizer's step, with its history in the optimizer's state.

There it is taken, put back, checked and written with the moments, whoever looks after the training; a redrawn module
loses its history with its moments. It changes only where the optimizer steps, so that an update that is discarded
before leaves no trace. Nothing waits for the device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from energy_flow.clipping_rules import AdaGC, ZClip
from energy_flow.scaled_step import kept_where_skipped, scale_left

__all__ = ["ADAGC", "HISTORY", "ZCLIP", "clip_with_every_step"]

ADAGC = "adagc"
"""Key of a parameter's history in its optimizer state."""

ZCLIP = "zclip"
"""Key in the optimizer's state under which the one history of all parameters stands, which belongs to none of them."""

HISTORY = "history"
"""Key of that history there."""


def clip_with_every_step(optimizer: Optimizer, rule: AdaGC | ZClip) -> None:
    """Clip the gradients by a rule as the optimizer begins to step, from now on, and write its history as it ends."""
    clipping = _PerTensor(rule) if isinstance(rule, AdaGC) else _Together(rule)
    optimizer.register_step_pre_hook(clipping.before_step)
    optimizer.register_step_post_hook(clipping.after_step)


def _with_gradients(optimizer: Optimizer) -> list[Tensor]:
    return [each for group in optimizer.param_groups for each in group["params"] if each.grad is not None]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [each.grad for each in parameters if each.grad is not None]


def _norms(optimizer: Optimizer, parameters: list[Tensor]) -> Tensor:
    """Of each gradient, in float32; without the scale of the loss, where that is still in them."""
    gradients = [_dense(each) for each in _gradients(parameters)]
    if any(each.dtype is torch.float64 for each in gradients):
        # Torch refuses to accumulate these in a narrower type.
        norm_P = torch.stack([torch.linalg.vector_norm(each).float() for each in gradients])
    else:
        norm_P = torch.stack(list(torch._foreach_norm(gradients, 2, dtype=torch.float32)))
    scale = scale_left(optimizer)
    return norm_P if scale is None else norm_P / scale


def _dense(gradient: Tensor) -> Tensor:
    """The numbers in a gradient: the values of a sparse one, both halves of a complex one."""
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return torch.view_as_real(values) if values.is_complex() else values


class _PerTensor:
    """AdaGC.

    A history is written after the step: before it, it would be the first thing in a parameter's state, which the
    optimizer would take for begun.
    """

    def __init__(self, rule: AdaGC) -> None:
        self.rule = rule
        self._parameters: list[Tensor] = []
        self._after: tuple[Tensor, ...] = ()

    def before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        parameters, self._after = _with_gradients(optimizer), ()
        self._parameters = parameters
        if not parameters:
            return
        norm_P = _norms(optimizer, parameters)
        fresh = self.rule.fresh(norm_P.device)
        history_P2 = torch.stack([optimizer.state.get(each, {}).get(ADAGC, fresh) for each in parameters])
        scale_P, after_P2 = self.rule.scales(norm_P, history_P2)
        torch._foreach_mul_(_gradients(parameters), list(scale_P.unbind()))
        self._after = kept_where_skipped(optimizer, history_P2, after_P2).unbind()

    def after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for parameter, after in zip(self._parameters, self._after, strict=True):
            # A copy: what stands in the state shares no memory.
            optimizer.state[parameter][ADAGC] = after.clone()
        self._parameters, self._after = [], ()


class _Together:
    """ZClip."""

    def __init__(self, rule: ZClip) -> None:
        self.rule = rule
        self._after: Tensor | None = None

    def before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        parameters, self._after = _with_gradients(optimizer), None
        if not parameters:
            return
        norm = torch.linalg.vector_norm(_norms(optimizer, parameters))
        state: Any = optimizer.state
        held = state.get(ZCLIP, {}).get(HISTORY)
        history = self.rule.fresh(norm.device) if held is None else held.to(norm.device)
        scale, after = self.rule.scale(norm, history)
        torch._foreach_mul_(_gradients(parameters), scale)
        self._after = kept_where_skipped(optimizer, history, after)

    def after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        state: Any = optimizer.state
        if self._after is not None:
            state[ZCLIP] = {HISTORY: self._after}
        self._after = None
