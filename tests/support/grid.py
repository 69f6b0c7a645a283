"""A grid of trainings: every optimizer and schedule in every manner of making an update, and batches that go wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from support.exact import seed_all
from support.training import MovingAverage, Training

__all__ = ["FAULTS", "MANNERS", "OPTIMIZERS", "SCHEDULERS", "Fault", "Manner", "Row", "build", "hand_written", "rows"]

FEATURES, HIDDEN, CLASSES, ROWS = 6, 8, 3, 8

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd_momentum": lambda parameters: SGD(parameters, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda parameters: Adam(parameters, lr=0.01),
    "adamw_loop": lambda parameters: AdamW(parameters, lr=0.01, foreach=False),
    "adamw_foreach": lambda parameters: AdamW(parameters, lr=0.01, foreach=True),
    "adamw_fused": lambda parameters: AdamW(parameters, lr=0.01, fused=True),
    "rmsprop": lambda parameters: RMSprop(parameters, lr=0.005, momentum=0.5, centered=True),
    "adagrad": lambda parameters: Adagrad(parameters, lr=0.05),
    "nadam": lambda parameters: NAdam(parameters, lr=0.01),
}

SCHEDULERS: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=30),
    "one_cycle": lambda optimizer: OneCycleLR(
        optimizer, max_lr=0.02, total_steps=40, cycle_momentum=bool({"momentum", "betas"} & optimizer.defaults.keys())
    ),
    "sequential": lambda optimizer: SequentialLR(
        optimizer,
        [LinearLR(optimizer, start_factor=0.1, total_iters=4), CosineAnnealingLR(optimizer, T_max=20)],
        milestones=[4],
    ),
    "lambda": lambda optimizer: LambdaLR(optimizer, lambda step: 0.9**step),
    "plateau": lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.5, patience=1),
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How an update is made.

    Attributes:
        accumulate: batches an update.
        autocast: the type that the forward pass runs in, None for the parameters' own.
        max_norm: gradients are clipped to it, None for not.
        files: the guard is given a run directory.
    """

    accumulate: int = 1
    autocast: torch.dtype | None = None
    max_norm: float | None = None
    files: bool = False


MANNERS: dict[str, Manner] = {
    "plain": Manner(),
    "files": Manner(files=True),
    "accumulated": Manner(accumulate=2),
    "autocast": Manner(autocast=torch.bfloat16),
    "clipped": Manner(max_norm=0.1),
    "everything": Manner(accumulate=2, autocast=torch.bfloat16, max_norm=0.1, files=True),
}


@dataclass(frozen=True)
class Row:
    """A batch. What can go wrong is in its numbers, so that a run without it is a run without the fault.

    Attributes:
        x_BF, y_B: features and classes.
        present_F: False for a feature that was not recorded: the model must not look at it.
        weight: of the batch in the loss.
        under_root: added under a square root; at 0 its derivative is infinite.
        root_weight: factor of that root; 0 makes the derivative 0 · inf.
    """

    x_BF: Tensor
    y_B: Tensor
    present_F: Tensor
    weight: float = 1.0
    under_root: float = 1.0
    root_weight: float = 0.0


class GridNet(nn.Module):
    """Features normalised by running statistics, those not recorded left out, then BatchNorm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(FEATURES, affine=False)
        self.inner = nn.Linear(FEATURES, HIDDEN)
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.drop = nn.Dropout(0.3)
        self.outer = nn.Linear(HIDDEN, CLASSES)

    def forward(self, row: Row) -> Tensor:
        scaled_BF = torch.where(row.present_F, self.scale(row.x_BF), 0.0)
        logits: Tensor = self.outer(self.drop(torch.relu(self.norm(self.inner(scaled_BF)))))
        return logits


def build(optimizer: str, scheduler: str, manner: Manner) -> Training:
    """A training whose loss draws from all three generators and moves an average of the weights."""
    seed_all(3)
    model = GridNet()
    average = MovingAverage(model)
    made = OPTIMIZERS[optimizer](model.parameters())

    def loss(row: Row) -> Tensor:
        noise = 0.01 * (random.random() + float(np.random.rand()))
        average.follow(model)
        element = model.inner.weight.view(-1)[3]
        root = torch.sqrt(element - element.detach() + row.under_root)
        with torch.autocast("cpu", dtype=manner.autocast, enabled=manner.autocast is not None):
            logits_BC = model(replace(row, x_BF=row.x_BF + noise))
        return row.weight * nn.functional.cross_entropy(logits_BC.float(), row.y_B) + row.root_weight * root

    return Training(model, made, SCHEDULERS[scheduler](made), loss, {"average": average})


def rows(count: int) -> list[Row]:
    """Batches of a problem that can be learnt; nothing is drawn from the global generators."""
    generator = torch.Generator().manual_seed(11)
    truth_FC = torch.randn(FEATURES, CLASSES, generator=generator)
    made = []
    for _ in range(count):
        x_BF = torch.randn(ROWS, FEATURES, generator=generator)
        made.append(Row(x_BF, (x_BF @ truth_FC).argmax(1), torch.ones(FEATURES, dtype=torch.bool)))
    return made


def hand_written(training: Training, updates: Sequence[Sequence[Row]], manner: Manner) -> None:
    """The loop that one writes by hand, an update for each tuple of batches."""
    for parts in updates:
        training.optimizer.zero_grad()
        total = torch.zeros(())
        for part in parts:
            loss = training.loss(part)
            loss = loss if len(parts) == 1 else loss / len(parts)
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        if manner.max_norm is not None:
            nn.utils.clip_grad_norm_(training.model.parameters(), manner.max_norm)
        training.optimizer.step()
        if isinstance(training.scheduler, ReduceLROnPlateau):
            training.scheduler.step(total.item())
        elif training.scheduler is not None:
            training.scheduler.step()
    training.optimizer.zero_grad()


def _unrecorded(row: Row) -> Row:
    x_BF, present_F = row.x_BF.clone(), row.present_F.clone()
    x_BF[2, 4], present_F[4] = math.nan, False
    return replace(row, x_BF=x_BF, present_F=present_F)


@dataclass(frozen=True, slots=True)
class Fault:
    """What makes a batch bad, and what must be found.

    Attributes:
        spoil: the batch with the fault in it.
        signal: what is named first.
        changes: of the manner, where the fault needs one.
    """

    spoil: Callable[[Row], Row]
    signal: str
    changes: Mapping[str, Any] | None = None


FAULTS: dict[str, Fault] = {
    "nan_loss": Fault(lambda row: replace(row, weight=math.nan), "nonfinite_loss"),
    "infinite_loss": Fault(lambda row: replace(row, weight=math.inf), "nonfinite_loss"),
    "one_nan_gradient_element": Fault(lambda row: replace(row, under_root=0.0), "nonfinite_gradient"),
    "one_infinite_gradient_element": Fault(
        lambda row: replace(row, under_root=0.0, root_weight=1.0), "nonfinite_gradient"
    ),
    "overflowed_norm": Fault(lambda row: replace(row, weight=1e23), "gradient_overflow"),
    "huge_gradients": Fault(lambda row: replace(row, weight=1e31), "gradient_overflow"),
    "running_statistics_alone": Fault(_unrecorded, "nonfinite_buffer"),
    "half_precision_overflow": Fault(
        lambda row: replace(row, weight=1e9), "nonfinite_gradient", {"autocast": torch.float16}
    ),
}
