"""The forward and backward pass of one update: the only one there is, for a step and for every replay of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler, OptState

from supervisor.training.optimizers import AnyOptimizer, members
from supervisor.update.executor import LossFunction
from supervisor.update.wrong_loss import checked

__all__ = ["backward", "unscale"]


def backward(batches: Sequence[Any], compute: LossFunction, scaler: GradScaler | None, divisor: int) -> Tensor:
    """Add the gradients of all batches up; the loss scale stays in them.

    Args:
        batches: of one update.
        compute: gives the loss of one.
        scaler: scales each loss, None for no scaling.
        divisor: each loss is divided by it, 1 where an update is one batch.

    Returns:
        The loss of the update, without its graph.

    Raises:
        LossError: `compute` does not give a tensor of one element with a graph.
        ValueError: there are no batches.
    """
    total: Tensor | None = None
    for batch in batches:
        loss = checked(compute(batch), compute)
        loss = loss if divisor == 1 else loss / divisor
        (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        total = loss.detach() if total is None else total + loss.detach()
    if total is None:
        raise ValueError("an update needs at least one batch")
    return total


def unscale(scaler: GradScaler, optimizer: AnyOptimizer) -> None:
    """Take the loss scale out of the gradients, of those optimizers whose gradients the caller has not unscaled."""
    if not scaler.is_enabled():
        return
    for each in members(optimizer):
        if scaler._per_optimizer_states[id(each)]["stage"] is OptState.READY:
            scaler.unscale_(each)
