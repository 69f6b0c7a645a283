"""Events that a run gets over by itself: reacting to them must not cost accuracy."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.rescue_study.cases import Case, Kind, at_batches, change_batches, flip_bit
from benchmarks.rescue_study.training import Batch, Training
from benchmarks.rescue_study.transient import half_precision_overflow, shuffled_labels, sign_flips, times, weight_of
from benchmarks.rescue_study.workloads import STEPS

__all__ = ["HARMLESS"]


def one_class(training: Training) -> None:
    """Thirty batches of which nine rows in ten are of one class."""
    inputs, targets = training.train
    rows = (targets == 2).nonzero()[:, 0]

    def change(batch: Batch) -> Batch:
        own = batch.number * 29 % len(rows)
        chosen = rows[(torch.arange(29) + own) % len(rows)]
        return batch._replace(
            inputs=torch.cat([inputs[chosen], batch.inputs[29:]]),
            targets=torch.cat([targets[chosen], batch.targets[29:]]),
        )

    change_batches(training, range(150, 180), change)


def warm_restarts(training: Training) -> None:
    """A cosine that starts anew every hundred steps, the last time lower."""
    for group in training.optimizer.param_groups:
        group["lr"] = group.pop("initial_lr")
    training.scheduler = LambdaLR(
        training.optimizer,
        lambda step: (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step % 100) / 100))) * (1 - 0.5 * step / STEPS),
    )


def overflow_under_scaler(training: Training) -> None:
    """What a gradient scaler is there for."""
    training.scaler = GradScaler("cpu", init_scale=2.0**10)
    half_precision_overflow(training)


def _case(name: str, workload: str, spoil: Any) -> Case:
    return Case(name, Kind.HARMLESS, workload, spoil)


HARMLESS: tuple[Case, ...] = (
    *(_case("nothing", workload, lambda _training: None) for workload in ("clusters", "surface", "recall", "stripes")),
    _case(
        "7 batches of shuffled labels, early", "clusters", lambda t: change_batches(t, range(30, 37), shuffled_labels)
    ),
    _case(
        "20 batches of shuffled labels, late",
        "clusters",
        lambda t: change_batches(t, range(360, 380), shuffled_labels),
    ),
    _case("one batch times 1e4", "clusters", lambda t: change_batches(t, [150], times(1e4))),
    _case(
        "a flip in a weight that nothing uses",
        "recall",
        lambda t: at_batches(t, [150], lambda: flip_bit(weight_of(t, "embedding.weight"), (6, 3), 30)),
    ),
    _case("ten sign-flipped gradients", "recall", sign_flips),
    _case("one odd batch, times 5", "clusters", lambda t: change_batches(t, [150], times(5))),
    _case("warm restarts", "recall", warm_restarts),
    _case("fp16 overflow under a gradient scaler", "clusters", overflow_under_scaler),
    _case("30 batches of nearly one class", "clusters", one_class),
)
