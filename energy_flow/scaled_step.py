"""What a gradient scaler tells an optimizer that unscales and skips by itself, as torch's fused ones do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["kept_where_skipped", "overflow", "scale_left"]


def overflow(optimizer: Optimizer) -> Tensor | None:
    """Above 0 where the step in progress changes nothing, since a gradient was not finite; None: nobody said.

    Such an optimizer is called on an overflow too, so that its hooks run although no update is applied.
    """
    found = getattr(optimizer, "found_inf", None)
    return found if isinstance(found, Tensor) else None


def scale_left(optimizer: Optimizer) -> Tensor | None:
    """By what the gradients are still multiplied as the step begins; None where they are not."""
    scale = getattr(optimizer, "grad_scale", None)
    return scale if isinstance(scale, Tensor) else None


def kept_where_skipped(optimizer: Optimizer, before: Tensor, after: Tensor) -> Tensor:
    """`after`, or `before` where the step in progress is skipped; nothing waits for the device."""
    found = overflow(optimizer)
    return after if found is None else torch.where(found > 0, before, after)
