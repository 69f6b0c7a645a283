"""The loss of a model that says nothing: with its output replaced by zeros. A training should come to beat it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from supervisor.experiments.fork import Update
from supervisor.experiments.no_trace import forward_undone
from supervisor.training.state import Subject
from supervisor.training.tree import clone, comes_back, mapped, tensors_in
from supervisor.update import Executor

__all__ = ["zero_output_losses"]


def zero_output_losses(subject: Subject, executor: Executor, updates: Sequence[Update]) -> list[float] | None:
    """The loss of each update with zeros for the output of the root module, by a forward pass that leaves no trace.

    Args:
        subject: the training objects.
        executor: computes the loss.
        updates: the batches of each update.

    Returns:
        The losses. None where the root module gives the loss itself, where one of the losses is not finite and above
        zero, or where it cannot be done: there is no loss to call, it never calls the root module, or raises.
    """
    if executor.no_replay is not None:
        return None
    for graph in (False, True):
        with forward_undone(subject), _silenced(subject.model) as silenced:
            try:
                losses = [
                    executor.probe([clone(each) if comes_back(each) else each for each in update], graph=graph)
                    for update in updates
                ]
            except Exception:  # noqa: BLE001  (a loss that differentiates inside raises without a graph)
                continue
        sound = silenced.calls > 0 and not silenced.impossible
        return losses if losses and sound and all(math.isfinite(loss) and loss > 0 for loss in losses) else None
    return None


class _Silenced:
    """A forward hook: zeros of the same structure in the place of the output."""

    def __init__(self) -> None:
        self.calls = 0
        self.impossible = False

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        self.calls += 1
        numbers = [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
        # A number without dimensions is a loss: without it, what is left says nothing about the outputs.
        if not numbers or any(tensor.dim() == 0 for tensor in numbers):
            self.impossible = True
            return output
        return mapped(output, _zeros)


def _zeros(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return torch.zeros_like(tensor, requires_grad=tensor.requires_grad)


@contextlib.contextmanager
def _silenced(model: nn.Module) -> Iterator[_Silenced]:
    hook = _Silenced()
    handle = model.register_forward_hook(hook)
    try:
        yield hook
    finally:
        handle.remove()
