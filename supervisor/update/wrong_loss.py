"""What `loss(batch)` must return, and the exception where it returns something else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from supervisor.errors import said_by

__all__ = ["LossError", "checked", "said_of"]


class LossError(TypeError):
    """A loss function has returned what no update can be made of.

    Args:
        what: what it returned, and what it must.
        function: the loss function.

    Attributes:
        what: the same.
        where: `file:line` of its definition, None where it has none. No line of the user's raises this, so that the
            text begins with it.
    """

    def __init__(self, what: str, function: object) -> None:
        self.what = what
        self.where = _defined_at(function)
        super().__init__(f"{self.where}: {what}" if self.where else what)


def checked(loss: Any, function: object, *, graph: bool = True) -> Tensor:
    """The loss, if it is a tensor of one element, with a graph.

    Args:
        loss: what the loss function returned.
        function: that function.
        graph: whether it has to have one; not after a forward pass alone.

    Raises:
        LossError: it is something else.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise LossError(f"loss(batch) must return a tensor with one element, not {_kind(loss)}", function)
    if not loss.is_floating_point():
        raise LossError(f"loss(batch) must return a tensor of floats, not of {loss.dtype}", function)
    if graph and not loss.requires_grad:
        what = "the tensor does not require grad: it was detached, or no parameter that is trained has a part in it"
        if not torch.is_grad_enabled():
            what = "gradients are switched off where it is called (torch.no_grad, torch.set_grad_enabled)"
        raise LossError(f"loss(batch) must return a tensor with a graph: {what}", function)
    return loss


def said_of(error: BaseException) -> str:
    """Class and text of an exception, as `said_by` gives them; of a `LossError` without the place, told beside it."""
    return f"{type(error).__name__}: {error.what}" if isinstance(error, LossError) else said_by(error)


def _kind(loss: Any) -> str:
    """What a loss function returned, with what to return instead where that is plain."""
    if isinstance(loss, Tensor):
        return f"shape {tuple(loss.shape)}: reduce it, as by .mean()"
    kind = type(loss).__name__
    if loss is None:
        return f"{kind}: it ends without a return"
    if isinstance(loss, float):
        return f"{kind}: leave out .item() or float()"
    if isinstance(loss, (Mapping, tuple, list)):
        return f"{kind}: return the loss alone"
    return kind


def _defined_at(function: object) -> str | None:
    found: Any = inspect.unwrap(function) if callable(function) else function
    while isinstance(found, functools.partial):
        found = found.func
    if not hasattr(getattr(found, "__func__", found), "__code__"):
        # An object that is called: a module, or one of a class with a `__call__` of its own.
        found = getattr(found, "forward", None) or vars(type(found)).get("__call__")
    code = getattr(getattr(found, "__func__", found), "__code__", None)
    return None if code is None else f"{code.co_filename}:{code.co_firstlineno}"
