"""Which rectified units of a model are zero whatever comes in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from supervisor.training.modules import named_modules

__all__ = ["DeadUnits"]


class DeadUnits:
    """Counts, while it watches, which outputs of each `nn.ReLU` were above zero for any sample.

    A unit is one place of the output behind the batch; of an output with places in space, one channel.
    """

    def __init__(self) -> None:
        self._alive: dict[str, Tensor] = {}

    @contextlib.contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """The block whose forward passes are counted."""
        handles = [
            module.register_forward_hook(self._hook(name))
            for name, module in named_modules(model)
            if isinstance(module, nn.ReLU)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def shares(self) -> dict[str, float]:
        """The share of units that were never above zero, by the name of the module."""
        return {name: 1 - float(alive.float().mean()) for name, alive in self._alive.items()}

    def _hook(self, name: str) -> Any:
        @torch.no_grad()
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.dim() < 2:
                return
            alive = output > 0
            # [B, C, H, W] is judged by channel, [B, T, C] and [B, C] by their last dimension.
            unit = 1 if output.dim() >= 4 else output.dim() - 1
            alive = alive.transpose(0, unit).flatten(1).any(1)
            before = self._alive.get(name)
            same = before is not None and before.shape == alive.shape
            self._alive[name] = alive | before if same and before is not None else alive

        return note
