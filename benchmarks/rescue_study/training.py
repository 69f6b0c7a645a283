"""A small training that faults can be written into, whatever runs its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["Batch", "Rows", "Training"]


class Batch(NamedTuple):
    """One batch; `number` is its position in the data, counted from 0 over all epochs."""

    number: int
    inputs: Tensor
    targets: Tensor


class Rows(NamedTuple):
    """A data set: inputs [N, ...] and targets [N]."""

    inputs: Tensor
    targets: Tensor


@dataclass(slots=True)
class Training:
    """A model, its data and what goes wrong with them.

    Attributes:
        steps: length of the schedule.
        objective: outputs, targets -> scalar loss.
        metric: outputs, targets -> a share in [0, 1], higher is better.
        before: called with the number of each batch before it is drawn; changes whatever it likes.
        on_batch: each turns a batch into the one that is seen.
        on_loss: each turns the number of a batch and its loss into the loss that is seen.
        now: number of the batch drawn last.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    train: Rows
    held_out: Rows
    batch_rows: int
    steps: int
    objective: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[Tensor, Tensor], Tensor]
    generator: torch.Generator
    scaler: GradScaler | None = None
    autocast: bool = False
    before: list[Callable[[int], None]] = field(default_factory=list)
    on_batch: list[Callable[[Batch], Batch]] = field(default_factory=list)
    on_loss: list[Callable[[int, Tensor], Tensor]] = field(default_factory=list)
    now: int = -1

    def batches(self) -> Iterator[Batch]:
        """Shuffled epochs without end."""
        number, count = 0, len(self.train.targets)
        while True:
            order = torch.randperm(count, generator=self.generator)
            for rows in order.split(self.batch_rows):
                for change in self.before:
                    change(number)
                batch = Batch(number, self.train.inputs[rows], self.train.targets[rows])
                for spoil in self.on_batch:
                    batch = spoil(batch)
                self.now = number
                yield batch
                number += 1

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, in float32."""
        with torch.autocast("cpu", dtype=torch.float16, enabled=self.autocast):
            outputs = self.model(batch.inputs)
        loss = self.objective(outputs.float(), batch.targets)
        for spoil in self.on_loss:
            loss = spoil(batch.number, loss)
        return loss

    @torch.no_grad()
    def score(self) -> float:
        """The metric on the held-out rows; 0 where the model gives no number."""
        self.model.eval()
        outputs = self.model(self.held_out.inputs)
        self.model.train()
        share = float(self.metric(outputs, self.held_out.targets)) if bool(outputs.isfinite().all()) else 0.0
        return min(1.0, max(0.0, share))
