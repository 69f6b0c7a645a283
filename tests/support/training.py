"""A small training that draws random numbers, keeps running statistics and has something to get wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from supervisor import Guard
from supervisor.testing.events import EventList
from support.exact import seed_all

__all__ = [
    "OPTIMIZERS",
    "SCHEDULERS",
    "EventList",
    "MovingAverage",
    "Net",
    "Training",
    "build",
    "guard_of",
    "healthy_batches",
    "nan_batch",
    "quiet",
    "spoilt_at",
]

FEATURES, CLASSES, ROWS = 6, 3, 8

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd_momentum": lambda parameters: SGD(parameters, lr=0.05, momentum=0.9),
    "adam": lambda parameters: Adam(parameters, lr=0.01),
    "adamw_fused": lambda parameters: AdamW(parameters, lr=0.01, fused=True),
}

SCHEDULERS: dict[str, Callable[[Optimizer], LRScheduler | None]] = {
    "none": lambda optimizer: None,
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=100),
    "one_cycle": lambda optimizer: OneCycleLR(optimizer, max_lr=0.02, total_steps=400),
    "lambda": lambda optimizer: LambdaLR(optimizer, lambda step: 0.99**step),
    "step": lambda optimizer: StepLR(optimizer, step_size=7, gamma=0.7),
    "plateau": lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.5, patience=2),
}

Batch = tuple[Tensor, Tensor]


class Net(nn.Module):
    """BatchNorm, dropout and two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.3)
        self.outer = nn.Linear(16, CLASSES)

    def forward(self, x_BF: Tensor) -> Tensor:
        logits: Tensor = self.outer(self.drop(torch.relu(self.norm(self.inner(x_BF)))))
        return logits


class MovingAverage:
    """A copy of the weights that follows them, moved by each loss: state that a step changes outside of torch."""

    def __init__(self, model: nn.Module) -> None:
        self.shadow = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.calls = 0

    def follow(self, model: nn.Module) -> None:
        self.calls += 1
        for name, parameter in model.named_parameters():
            self.shadow[name].lerp_(parameter.detach(), 0.1)

    def state_dict(self) -> dict[str, Any]:
        return {"shadow": self.shadow, "calls": self.calls}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.shadow = {name: tensor.clone() for name, tensor in state["shadow"].items()}
        self.calls = state["calls"]


@dataclass
class Training:
    """The objects that a guard is given."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None
    loss: Callable[[Any], Tensor]
    extra_state: dict[str, Any] = field(default_factory=dict)
    scaler: Any = None


def build(
    *,
    seed: int = 0,
    optimizer: str = "adam",
    scheduler: str = "none",
    draws: bool = False,
    average: bool = False,
    model: Callable[[], nn.Module] = Net,
) -> Training:
    """A training, the same for the same seed; the generators are seeded too.

    Args:
        seed: of weights and generators.
        optimizer: key of `OPTIMIZERS`.
        scheduler: key of `SCHEDULERS`.
        draws: the loss draws from Python's and NumPy's generators.
        average: a `MovingAverage` is moved by the loss and registered as extra state.
        model: makes the model.
    """
    seed_all(seed)
    net = model()
    made = OPTIMIZERS[optimizer](net.parameters())
    shadow = MovingAverage(net) if average else None

    def loss(batch: Batch) -> Tensor:
        x_BF, y_B = batch
        if draws:
            x_BF = x_BF + 0.01 * random.random() + 0.01 * float(np.random.rand())
        if shadow is not None:
            shadow.follow(net)
        return nn.functional.cross_entropy(net(x_BF), y_B)

    extra = {} if shadow is None else {"average": shadow}
    return Training(net, made, SCHEDULERS[scheduler](made), loss, extra)


def healthy_batches(count: int, *, seed: int = 1) -> list[Batch]:
    """Batches of a problem that can be learnt; nothing is drawn from the global generators."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(FEATURES, CLASSES, generator=generator)
    batches = []
    for _ in range(count):
        x_BF = torch.randn(ROWS, FEATURES, generator=generator)
        batches.append((x_BF, (x_BF @ weights).argmax(1)))
    return batches


def nan_batch(batch: Batch) -> Batch:
    """The batch with one NaN in it."""
    x_BF = batch[0].clone()
    x_BF[2, 1] = float("nan")
    return x_BF, batch[1]


def quiet(**changes: Any) -> dict[str, Any]:
    """A policy in which only what a test provokes is found: without spikes, drift and the watch on weights.

    It is answered by counting alone, as without experiments, unless a test turns them on.
    """
    detect = {"spike": None, "drift": None, "weights": None, **changes.pop("detect", {})}
    return {"detect": detect, "experiments": None, **changes}


def guard_of(training: Training, data: Sequence[Any] | None = None, **options: Any) -> Guard:
    """A guard over a training; `policy` is a quiet one unless given."""
    options.setdefault("policy", quiet())
    return Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=options.pop("loss", training.loss),
        data=data,
        scheduler=training.scheduler,
        scaler=training.scaler,
        extra_state=training.extra_state,
        **options,
    )


def spoilt_at(training: Training, step: int, guard: list[Any]) -> Any:
    """The loss of a training whose weights are spoilt once, before this step."""
    once = [step]

    def loss(batch: Any) -> torch.Tensor:
        if once and guard[0].steps_done == once[0]:
            once.clear()
            with torch.no_grad():
                training.model.get_parameter("outer.weight")[0, 0] = torch.nan
        return training.loss(batch)

    return loss
