"""What a case is, and the changes that cases are made of."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.rescue_study.training import Batch, Training
from benchmarks.rescue_study.workloads import build

__all__ = [
    "Case",
    "Kind",
    "at_batches",
    "change_activation",
    "change_batches",
    "change_gradient",
    "change_loss",
    "flip_bit",
]

Inputs = Callable[[Tensor], Tensor]


class Kind(enum.StrEnum):
    """What sort of thing went wrong."""

    TRANSIENT = "transient fault"
    CONFIGURATION = "configuration fault"
    HELD_OUT = "held-out configuration fault"
    HARMLESS = "harmless event"


@dataclass(frozen=True, slots=True)
class Case:
    """One broken training.

    Attributes:
        name: what happened, in a few words.
        workload: what it happened to.
        spoil: writes it into the training.
    """

    name: str
    kind: Kind
    workload: str
    spoil: Callable[[Training], None]

    def build(self, seed: int) -> Training:
        """The broken training of one seed."""
        training = build(self.workload, seed)
        with torch.no_grad():
            self.spoil(training)
        return training


def at_batches(training: Training, when: Collection[int], change: Callable[[], object]) -> None:
    """Change weights, optimizer or rates just before the batches of these numbers."""

    def before(number: int) -> None:
        if number in when:
            with torch.no_grad():
                change()

    training.before.append(before)


def change_batches(training: Training, when: Collection[int], change: Callable[[Batch], Batch]) -> None:
    """Change what the batches of these numbers hold."""
    training.on_batch.append(lambda batch: change(batch) if batch.number in when else batch)


def change_loss(training: Training, when: Collection[int], change: Callable[[Tensor], Tensor]) -> None:
    """Change the loss of the batches of these numbers."""
    training.on_loss.append(lambda number, loss: change(loss) if number in when else loss)


def change_gradient(training: Training, weight: Tensor, when: Collection[int], change: Inputs) -> None:
    """Change the gradient of one weight in the batches of these numbers; `change` is given a copy."""
    weight.register_hook(lambda grad: change(grad.clone()) if training.now in when else grad)


def change_activation(training: Training, module: nn.Module, when: Collection[int], change: Inputs) -> None:
    """Change the output of one module in the batches of these numbers."""
    module.register_forward_hook(lambda _m, _i, output: change(output) if training.now in when else output)


def flip_bit(weight: Tensor, index: tuple[int, ...], bit: int) -> None:
    """Flip one bit of a float32 element in place; 30 is the exponent's highest."""
    element = weight.detach()[index].reshape(1).view(torch.int32)
    weight.detach()[index] = (element ^ (1 << bit)).view(torch.float32)[0]
