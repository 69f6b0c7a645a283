"""Faults that come and go: of the data, the arithmetic, the memory, and whatever else touches a run."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.rescue_study.cases import (
    Case,
    Kind,
    at_batches,
    change_activation,
    change_batches,
    change_gradient,
    change_loss,
    flip_bit,
)
from benchmarks.rescue_study.training import Batch, Rows, Training

__all__ = ["TRANSIENT"]

WHEN = 150
"""The batch that most of these faults come with, of 400."""
LATE = 360
"""A batch with little of the schedule left to get over it."""


def filled(value: float) -> Any:
    """A change that fills the inputs of a batch with one value."""
    return lambda batch: batch._replace(inputs=torch.full_like(batch.inputs, value))


def times(factor: float) -> Any:
    """A change that multiplies the inputs of a batch."""
    return lambda batch: batch._replace(inputs=batch.inputs * factor)


def element(value: float) -> Any:
    """A change that writes one value into the first element of a copy."""

    def change(tensor: Tensor) -> Tensor:
        tensor.view(-1)[0] = value
        return tensor

    return change


def shuffled_labels(batch: Batch) -> Batch:
    """Each row of the batch with another row's label."""
    return batch._replace(targets=batch.targets.roll(1))


def shifted_labels(batch: Batch) -> Batch:
    """Each label is the next class: consistent, and wrong."""
    return batch._replace(targets=(batch.targets + 1) % 6)


def bad_row(training: Training) -> None:
    inputs = training.train.inputs.clone()
    inputs[7] = math.nan
    training.train = Rows(inputs, training.train.targets)


def padding_only_row(batch: Batch) -> Batch:
    inputs = batch.inputs.clone()
    inputs[3] = 0
    return batch._replace(inputs=inputs)


def moments(training: Training, weight: nn.Parameter, key: str) -> Tensor:
    moment: Tensor = training.optimizer.state[weight][key]
    return moment


def rate_times(training: Training, factor: float) -> None:
    # The scheduler writes the rate anew after each step: this is a callback's mistake, batch after batch.
    for group in training.optimizer.param_groups:
        group["lr"] = factor * training.scheduler.get_last_lr()[0]


def scale_all(training: Training, factor: float) -> None:
    for weight in training.model.parameters():
        weight.mul_(factor)


def half_precision_overflow(training: Training) -> None:
    training.autocast = True
    change_batches(training, [WHEN, WHEN + 40], times(1e6))


def sign_flips(training: Training) -> None:
    """Ten updates go uphill."""
    for weight in training.model.parameters():
        change_gradient(training, weight, range(150, 160), lambda grad: -grad)


def raises(loss: Tensor) -> Tensor:
    raise RuntimeError("a worker of the data pipeline answered too late")


def weight_of(training: Training, name: str) -> nn.Parameter:
    return training.model.get_parameter(name)


def _case(name: str, workload: str, spoil: Any) -> Case:
    return Case(name, Kind.TRANSIENT, workload, spoil)


TRANSIENT: tuple[Case, ...] = (
    _case("one batch of NaN", "clusters", lambda t: change_batches(t, [WHEN], filled(math.nan))),
    _case("one row of NaN, met once an epoch", "clusters", bad_row),
    _case("one batch of Inf, before BatchNorm", "stripes", lambda t: change_batches(t, [WHEN], filled(math.inf))),
    _case("6 batches of NaN in a row", "surface", lambda t: change_batches(t, range(WHEN, WHEN + 6), filled(math.nan))),
    _case(
        "one NaN gradient element",
        "recall",
        lambda t: change_gradient(t, weight_of(t, "gru.weight_hh_l0"), [WHEN], element(math.nan)),
    ),
    _case(
        "one Inf gradient element",
        "clusters",
        lambda t: change_gradient(t, weight_of(t, "2.weight"), [WHEN], element(math.inf)),
    ),
    _case(
        "gradients of 1e30",
        "lookup",
        lambda t: [change_gradient(t, w, [8], lambda grad: grad.sign() * 1e30) for w in t.model.parameters()],
    ),
    _case(
        "gradients times 1e4",
        "stripes",
        lambda t: [change_gradient(t, w, [WHEN], lambda grad: grad * 1e4) for w in t.model.parameters()],
    ),
    _case(
        "one NaN weight",
        "lookup",
        lambda t: at_batches(t, [WHEN], lambda: weight_of(t, "mix.weight").view(-1)[0].fill_(math.nan)),
    ),
    _case(
        "the highest exponent bit of a weight",
        "clusters",
        lambda t: at_batches(t, [WHEN], lambda: flip_bit(weight_of(t, "4.weight"), (0, 5), 30)),
    ),
    _case(
        "the highest exponent bit of a weight",
        "lookup",
        lambda t: at_batches(t, [WHEN], lambda: flip_bit(weight_of(t, "mix.weight"), (3, 3), 30)),
    ),
    _case(
        "NaN in Adam's second moment",
        "recall",
        lambda t: at_batches(
            t, [WHEN], lambda: moments(t, weight_of(t, "head.weight"), "exp_avg_sq").view(-1)[0].fill_(math.nan)
        ),
    ),
    _case(
        "Inf in Adam's first moment",
        "clusters",
        lambda t: at_batches(
            t, [WHEN], lambda: moments(t, weight_of(t, "0.weight"), "exp_avg").view(-1)[0].fill_(math.inf)
        ),
    ),
    _case(
        "Adam's first moments times 1e4",
        "recall",
        lambda t: at_batches(t, [WHEN], lambda: [moments(t, w, "exp_avg").mul_(1e4) for w in t.model.parameters()]),
    ),
    _case(
        "momentum times 1e4",
        "stripes",
        lambda t: at_batches(
            t, [WHEN], lambda: [moments(t, w, "momentum_buffer").mul_(1e4) for w in t.model.parameters()]
        ),
    ),
    _case(
        "one batch of targets times 1e3",
        "surface",
        lambda t: change_batches(t, [WHEN], lambda batch: batch._replace(targets=batch.targets * 1e3)),
    ),
    _case(
        "20 batches of wrong labels, late",
        "recall",
        lambda t: change_batches(t, range(LATE, LATE + 20), shifted_labels),
    ),
    _case("100 batches of wrong labels", "recall", lambda t: change_batches(t, range(260, 360), shifted_labels)),
    _case("100 batches of wrong labels", "clusters", lambda t: change_batches(t, range(260, 360), shifted_labels)),
    _case(
        "learning rate times 1000 for one update",
        "surface",
        lambda t: at_batches(t, [WHEN], lambda: rate_times(t, 1e3)),
    ),
    _case(
        "learning rate times 1000 for 5 batches",
        "clusters",
        lambda t: at_batches(t, range(WHEN, WHEN + 5), lambda: rate_times(t, 1e3)),
    ),
    _case(
        "weights halved, ten steps in a row",
        "recall",
        lambda t: at_batches(t, range(WHEN, WHEN + 10), lambda: scale_all(t, 0.5)),
    ),
    _case(
        "one layer times 30",
        "recall",
        lambda t: at_batches(t, [LATE], lambda: weight_of(t, "gru.weight_hh_l0").mul_(30)),
    ),
    _case(
        "BatchNorm variance set to NaN",
        "stripes",
        lambda t: at_batches(t, [WHEN], lambda: t.model.get_buffer("1.running_var").fill_(math.nan)),
    ),
    _case(
        "attention rows of padding alone, 5 batches",
        "lookup",
        lambda t: change_batches(t, [WHEN, WHEN + 7, 230, 290, 350], padding_only_row),
    ),
    _case("ten sign-flipped gradients", "surface", sign_flips),
    _case("an exception now and then", "clusters", lambda t: change_loss(t, [60, WHEN, 260], raises)),
    _case("fp16 overflow without a scaler", "clusters", half_precision_overflow),
    _case(
        "a hook that blows up one activation",
        "surface",
        lambda t: change_activation(t, t.model.get_submodule("4"), [WHEN], lambda output: output * 1e6),
    ),
)
