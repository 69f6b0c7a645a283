"""The moving average of the weights that evaluation and export may take instead of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from energy_flow.scaled_step import kept_where_skipped, overflow

__all__ = ["AVERAGE", "WeightAverage", "weights_replaced"]

AVERAGE = "average"
"""Key of a parameter's average in its optimizer state."""


class WeightAverage:
    """Moves the averages with every step of an optimizer, by torch's own rule, and keeps them in its state.

    There they are taken, put back, checked and written with the moments: an update that is discarded moves none, one
    that is undone is undone in them too, and those of a redrawn module begin anew. A parameter's average begins as
    what its first step makes of it. `AveragedModel`, a copy of the whole module beside it, would have to be copied
    once more before every batch.

    Args:
        decay: share of its past that an average keeps with each update.
    """

    def __init__(self, decay: float) -> None:
        self._move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def attach(self, optimizer: Optimizer) -> None:
        """Move the averages after every step of the optimizer from now on."""
        optimizer.register_step_post_hook(self._after_step)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        averages, weights = [], []
        skipped = overflow(optimizer)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None and not optimizer.state.get(parameter):
                    # It has not been stepped yet, and an optimizer takes a state with anything in it for begun.
                    continue
                held = optimizer.state[parameter]
                if AVERAGE in held:
                    averages.append(held[AVERAGE])
                    weights.append(kept_where_skipped(optimizer, held[AVERAGE], parameter.detach()))
                # Waits for the device, once a parameter.
                elif skipped is None or not bool(skipped > 0):
                    held[AVERAGE] = parameter.detach().clone(memory_format=torch.preserve_format)
        if averages:
            self._move(averages, weights, 0)

    def weights(self, model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
        """The averages by the names of the model's parameters; those without a step so far are left out."""
        held = ((name, optimizer.state.get(parameter)) for name, parameter in model.named_parameters())
        return {name: state[AVERAGE] for name, state in held if state and AVERAGE in state}


@contextlib.contextmanager
def weights_replaced(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Put other values into the model's parameters for the block, and their own back after it, bit for bit.

    Args:
        model: the model.
        weights: values by name; parameters without one keep theirs.
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters() if name in weights}
    own = {name: parameter.clone() for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.copy_(own[name])
