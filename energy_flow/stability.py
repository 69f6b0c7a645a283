"""Keeping the shared GRU finite, and saying whenever something had to be done about it.

Everything that is counted here is counted on the device: nothing waits for the device unless its docstring
says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = [
    "OUTPUT_EXTREME",
    "DeviceTally",
    "Draw",
    "Health",
    "clip_each_",
    "count_extremes",
    "draw_gates_",
    "gradient_health",
    "initialize_gru_",
    "initialize_linear_",
    "sanitize",
    "tensor_health",
]

OUTPUT_EXTREME = 1000.0
"""Magnitude from which a finite element of the model's answer counts as extreme."""


Draw = Literal["orthogonal", "xavier"]
"""How a weight matrix is drawn."""


class DeviceTally:
    """A count that grows on the device.

    It is neither a parameter nor a buffer: a state that is saved or restored must not carry it, or restoring
    the state before a bad batch would also forget that values were replaced in it.
    """

    def __init__(self) -> None:
        self._count: Tensor | None = None

    def add(self, count: Tensor) -> None:
        """Add a 0-dimensional integer tensor; the tally follows it to its device."""
        self._count = count if self._count is None else self._count.to(count.device) + count

    def take(self, device: torch.device) -> Tensor:
        """The count since the last call, int64 and 0-dimensional, and start again from zero."""
        count, self._count = self._count, None
        return torch.zeros((), dtype=torch.int64, device=device) if count is None else count


def _surely_within(values: Tensor, bound: float) -> bool:
    """Whether all values are finite and within ±`bound`, as far as can be told without waiting for a device.

    Values on the CPU can be read at once, which saves the guards most of their work; elsewhere nothing is known.
    """
    if values.device.type != "cpu":
        return False
    values = values.detach()
    return bool(values.amax() <= bound) and bool(values.amin() >= -bound)


class _Sanitize(torch.autograd.Function):
    """`nan_to_num` then `clamp`, with one cheap kernel backward: their own two cost more than the GRU's."""

    @staticmethod
    def forward(values: Tensor, clip: float) -> tuple[Tensor, Tensor]:
        # x - x is 0 where x is finite and NaN where it is not. A sum of ones is exact up to 2**24 elements.
        replaced = (values - values).nan_to_num_(nan=1.0).sum(dtype=torch.float32).to(torch.int64)
        return values.nan_to_num(nan=0.0, posinf=clip, neginf=-clip).clamp_(-clip, clip), replaced

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0])
        ctx.clip = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # What was NaN passes no gradient either, so it is moved out of the bounds.
        source = ctx.saved_tensors[0].nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
        return torch.ops.aten.hardtanh_backward(gradients[0], source, -ctx.clip, ctx.clip), None


def sanitize(values: Tensor, clip: float, replaced: DeviceTally) -> Tensor:
    """Replace NaN by 0 and infinities by ±clip, count both, then clamp to ±clip.

    A finite value that is clamped was not replaced and is not counted. Replaced and clamped elements pass no
    gradient.

    Args:
        values: any shape, floating point.
        clip: bound, positive.
        replaced: where the number of replaced elements is added.
    """
    if _surely_within(values, clip):
        return values
    # A bound beyond what the type holds is no number of that type.
    clip = min(clip, torch.finfo(values.dtype).max)
    clean: Tensor
    clean, count = _Sanitize.apply(values, clip)  # type: ignore[no-untyped-call]
    replaced.add(count)
    return clean


def count_extremes(values: Tensor, threshold: float, extremes: DeviceTally) -> None:
    """Add the number of finite elements beyond ±`threshold` to `extremes`."""
    # Beyond what the type holds there is no finite value, and a threshold there is no number of that type.
    if threshold >= torch.finfo(values.dtype).max or _surely_within(values, threshold):
        return
    beyond = nn.functional.hardshrink(values.detach(), threshold)
    # x / x is 1 where x is finite and not zero, and NaN elsewhere; comparisons are several times slower.
    extremes.add((beyond / beyond).nan_to_num_(nan=0.0).sum(dtype=torch.float32).to(torch.int64))


def initialize_gru_(
    gru: nn.GRU,
    method: Draw = "orthogonal",
    generator: torch.Generator | None = None,
) -> None:
    """Redraw a GRU so that gradients survive many steps: in place, on any device.

    Input weights are Xavier uniform, and hidden weights orthogonal (or Xavier), each per gate block; biases
    are zero, but for the update-gate third of `bias_hh`, which is 1: a fresh GRU then keeps most of its
    hidden state. PyTorch orders the blocks reset, update, new.

    Args:
        gru: the module to redraw.
        method: how hidden weights are drawn.
        generator: CPU generator to draw from; None draws from the global one.
    """
    with torch.no_grad():
        for name, parameter in gru.named_parameters():
            if name.startswith("weight"):
                draw_gates_(parameter, 3, method if name.startswith("weight_hh") else "xavier", generator)
            else:
                parameter.zero_()
                if name.startswith("bias_hh"):
                    parameter.chunk(3)[1].fill_(1.0)


def draw_gates_(weight: Tensor, gates: int, method: Draw, generator: torch.Generator | None = None) -> None:
    """Redraw a weight matrix in place, on any device: each of the `gates` blocks of its rows by itself.

    Args:
        weight: the matrix [gates * h, inputs].
        gates: how many blocks are stacked along its first dimension.
        method: Xavier uniform, or orthogonal.
        generator: CPU generator to draw from; None draws from the global one.
    """
    drawn = torch.empty(weight.shape)
    for block in drawn.chunk(gates):
        if method == "orthogonal":
            nn.init.orthogonal_(block, generator=generator)
        else:
            nn.init.xavier_uniform_(block, generator=generator)
    with torch.no_grad():
        weight.copy_(drawn)


def initialize_linear_(linear: nn.Linear, generator: torch.Generator | None = None) -> None:
    """Redraw a linear layer in place, on any device: Xavier uniform weights, zero bias."""
    with torch.no_grad():
        drawn = torch.empty(linear.weight.shape)
        linear.weight.copy_(nn.init.xavier_uniform_(drawn, generator=generator))
        linear.bias.zero_()


def clip_each_(parameters: Iterable[nn.Parameter], max_norm: float) -> None:
    """Scale each parameter's gradient down to an L2 norm of at most `max_norm`, each by itself, in place.

    A gradient within the bound keeps its bits. A gradient that is not finite is left as it is or spreads
    within its own parameter: look for those first.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients:
        norms = torch.stack(torch._foreach_norm(gradients))
        scales = (max_norm / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(max=1.0)
        torch._foreach_mul_(gradients, list(scales.unbind()))


@dataclass(frozen=True)
class Health:
    """How many elements were NaN, infinite, or finite but beyond a threshold."""

    nan: int
    inf: int
    extreme: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not (self.nan or self.inf or self.extreme)


def tensor_health(values: Tensor, extreme: float) -> Tensor:
    """Counts [3] of NaN, infinite, and finite elements from ±`extreme` on; int64, on the values' device."""
    magnitude = values.detach().abs()
    infinite = magnitude.isinf().sum()
    return torch.stack((magnitude.isnan().sum(), infinite, (magnitude >= extreme).sum() - infinite))


def gradient_health(parameters: Iterable[nn.Parameter], extreme: float) -> Health:
    """Look over all gradients as they are, before anything cleans or clips them. Waits for the device."""
    counts = [tensor_health(parameter.grad, extreme) for parameter in parameters if parameter.grad is not None]
    if not counts:
        return Health(0, 0, 0)
    return Health(*torch.stack(counts).sum(dim=0).tolist())
