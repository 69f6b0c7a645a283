"""The learning-rate scale: recovery state, in force only while the optimizer steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from supervisor.training.optimizers import AnyOptimizer

__all__ = ["highest_lr", "nominal_lr", "scaled_learning_rates"]


@contextlib.contextmanager
def scaled_learning_rates(optimizer: AnyOptimizer, scale: float) -> Iterator[None]:
    """Multiply every group's learning rate by `scale` inside the block.

    The nominal rate belongs to the user and the scheduler, so it is put back as the very object it was, even when
    the step raises. With a scale of 1 nothing is touched.
    """
    if scale == 1.0:
        yield
        return
    nominal = [group["lr"] for group in optimizer.param_groups]
    try:
        for group, lr in zip(optimizer.param_groups, nominal, strict=True):
            group["lr"] = lr * scale
        yield
    finally:
        for group, lr in zip(optimizer.param_groups, nominal, strict=False):
            group["lr"] = lr


def nominal_lr(optimizer: AnyOptimizer) -> float:
    """Learning rate of the first parameter group (of the first optimizer), as the scheduler set it."""
    return float(optimizer.param_groups[0]["lr"])


def highest_lr(optimizer: AnyOptimizer) -> float:
    """The highest nominal learning rate of all parameter groups."""
    return max(float(group["lr"]) for group in optimizer.param_groups)
