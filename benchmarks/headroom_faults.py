"""Gradual faults: runs that go wrong a little more with every update, on the workloads of the rescue study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.rescue_study.training import Batch, Rows, Training
from benchmarks.rescue_study.workloads import build, warmup_cosine

__all__ = ["BEGINS", "GRADUAL", "Gradual"]

BEGINS = 500
"""The batch that a fault begins with."""

STEPS = 1700
"""Length of a run, unless it has failed before."""


@dataclass(frozen=True, slots=True)
class Gradual:
    """One kind of fault in one workload.

    Attributes:
        kind: what grows.
        workload: of the rescue study.
        rate: by how much it grows an update, as a share.
        spoil: writes it into a training.
    """

    kind: str
    workload: str
    rate: float
    spoil: Callable[[Training, float], None]

    def build(self, seed: int) -> Training:
        """The training of one seed, with the fault in it."""
        training = build(self.workload, seed)
        training.steps = STEPS
        self.spoil(training, self.rate)
        return training


def _from_then_on(training: Training, change: Callable[[int], None]) -> None:
    def before(number: int) -> None:
        if number >= BEGINS:
            with torch.no_grad():
                change(number - BEGINS)

    training.before.append(before)


def growing_weights(training: Training, rate: float) -> None:
    """One weight matrix grows by itself, as under a sign error in its decay."""
    weight = next(weight for weight in [*training.model.parameters()][1:] if weight.dim() > 1)
    _from_then_on(training, lambda _: weight.mul_(1 + rate))


def climbing_rate(training: Training, rate: float) -> None:
    """The learning rate is multiplied once more with every update."""
    scheduler = training.scheduler

    def change(passed: int) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] = scheduler.get_last_lr()[0] * (1 + rate) ** passed

    _from_then_on(training, change)


def growing_logits(training: Training, rate: float) -> None:
    """Queries and keys grow alike, so that attention sharpens until it is a choice of one."""
    weight = training.model.get_parameter("query_key_value.weight")
    _from_then_on(training, lambda _: weight[:48].mul_(1 + rate))


def growing_inputs(training: Training, rate: float) -> None:
    """What comes out of the data pipeline grows."""

    def change(batch: Batch) -> Batch:
        passed = max(0, batch.number - BEGINS)
        return batch._replace(inputs=batch.inputs * (1 + rate) ** passed)

    training.on_batch.append(change)


def growing_half(training: Training, rate: float) -> None:
    """The same as growing weights, in a model that is kept in fp16."""
    training.model.half()
    training.train = Rows(training.train.inputs.half(), training.train.targets)
    training.held_out = Rows(training.held_out.inputs.half(), training.held_out.targets)
    # Its usual eps is zero in fp16.
    training.optimizer = Adam(training.model.parameters(), lr=1e-3, eps=1e-4)
    training.scheduler = LambdaLR(training.optimizer, warmup_cosine)
    weight = next(weight for weight in [*training.model.parameters()][1:] if weight.dim() > 1)
    # By eight updates at once: a growth of less than the spacing of fp16 would be rounded away.
    _from_then_on(training, lambda passed: None if passed % 8 else weight.mul_((1 + rate) ** 8))


_EVERYWHERE = ("clusters", "recall", "surface", "lookup", "stripes")
_RATES = (0.003, 0.01, 0.03)

GRADUAL: tuple[Gradual, ...] = (
    *(Gradual("growing weights", name, rate, growing_weights) for name in _EVERYWHERE for rate in _RATES),
    *(Gradual("a rate that climbs", name, rate, climbing_rate) for name in _EVERYWHERE for rate in _RATES),
    *(Gradual("attention logits that grow", "lookup", rate, growing_logits) for rate in _RATES),
    *(
        Gradual("inputs that grow", name, rate, growing_inputs)
        for name in ("clusters", "surface", "stripes")
        for rate in _RATES
    ),
    *(
        Gradual("growing weights, fp16", name, rate, growing_half)
        for name in ("clusters", "surface")
        for rate in _RATES
    ),
)
