"""Runs that are wrong from their first line: rates, initial weights, arithmetic."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.rescue_study.cases import Case, Kind
from benchmarks.rescue_study.training import Batch, Rows, Training
from benchmarks.rescue_study.workloads import warmup_cosine

__all__ = ["CONFIGURATION"]


def rate_times(factor: float) -> Any:
    """Every learning rate of the schedule is so much too high."""

    def spoil(training: Training) -> None:
        for group in training.optimizer.param_groups:
            group["initial_lr"] *= factor
        training.scheduler = LambdaLR(training.optimizer, warmup_cosine, last_epoch=-1)

    return spoil


def without_warmup(factor: float) -> Any:
    """The full rate, and more, from the first step."""

    def spoil(training: Training) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] = factor * group.pop("initial_lr")
        training.scheduler = LambdaLR(training.optimizer, lambda step: warmup_cosine(step + 20))

    return spoil


def schedule_with_a_spike(training: Training) -> None:
    """The schedule itself says a thousand times the rate for three steps."""
    for group in training.optimizer.param_groups:
        group["lr"] = group.pop("initial_lr")
    training.scheduler = LambdaLR(
        training.optimizer, lambda step: warmup_cosine(step) * (1000 if 200 <= step < 203 else 1)
    )


def initial_weights(factor: float, *names: str) -> Any:
    """Weights (all matrices, or those named) drawn so much too large."""

    def spoil(training: Training) -> None:
        for name, weight in training.model.named_parameters():
            if name in names or (not names and weight.dim() > 1):
                weight.mul_(factor)

    return spoil


def half_precision(training: Training) -> None:
    """fp16, and one row in 400 with values beyond its range."""
    training.autocast = True
    inputs = training.train.inputs.clone()
    inputs[::400] *= 1e6
    training.train = Rows(inputs, training.train.targets)


def summed(training: Training) -> None:
    """The loss is the sum over the batch where the rate was chosen for the mean."""
    training.on_loss.append(lambda _number, loss: loss * training.batch_rows)


def raw_targets(training: Training) -> None:
    """Targets in other units, a hundred times as large."""
    training.train = Rows(training.train.inputs, 100 * training.train.targets)
    training.held_out = Rows(training.held_out.inputs, 100 * training.held_out.targets)


def by_hand_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """One-against-all with the logarithm of a saturated sigmoid."""
    share = torch.sigmoid(outputs / 0.05)
    wanted = nn.functional.one_hot(targets, outputs.shape[1]).float()
    return -(wanted * share.log() + (1 - wanted) * (1 - share).log()).mean() * 4


def distance_penalty(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, and the distance of neighbours in the batch, whose root has no slope at zero."""
    distance = (outputs[1:] - outputs[:-1]).square().sum(1).sqrt()
    return nn.functional.cross_entropy(outputs, targets) + 1e-3 * distance.mean()


def twins(training: Training) -> None:
    """Some rows of the data are the same, and the loss divides by their distance in its backward pass."""
    inputs, targets = training.train.inputs.clone(), training.train.targets.clone()
    inputs[:40], targets[:40] = inputs[0], targets[0]
    training.train = Rows(inputs, targets)
    training.objective = distance_penalty


def saturating_logarithm(training: Training) -> None:
    training.objective = by_hand_cross_entropy


def standardised_by_batch(training: Training) -> None:
    """Each batch is divided by its own spread, also where a feature has none."""

    def standardise(inputs: Tensor) -> Tensor:
        return (inputs - inputs.mean(0)) / inputs.std(0)

    training.held_out = Rows(standardise(training.held_out.inputs), training.held_out.targets)

    def change(batch: Batch) -> Batch:
        return batch._replace(inputs=standardise(batch.inputs))

    training.on_batch.append(change)


def some_rows_missing(training: Training) -> None:
    """One row in 200 is NaN: a batch in seven."""
    inputs = training.train.inputs.clone()
    inputs[::200] = math.nan
    training.train = Rows(inputs, training.train.targets)


def heavy_momentum(training: Training) -> None:
    """A momentum of 0.999 at the rate for 0.9."""
    group = training.optimizer.param_groups[0]
    training.optimizer = SGD(training.model.parameters(), lr=group["initial_lr"], momentum=0.999)
    training.scheduler = LambdaLR(training.optimizer, warmup_cosine)


def _case(name: str, workload: str, spoil: Any) -> Case:
    return Case(name, Kind.CONFIGURATION, workload, spoil)


CONFIGURATION: tuple[Case, ...] = (
    _case("learning rate times 10 (SGD)", "surface", rate_times(10)),
    _case("learning rate times 100 (SGD)", "surface", rate_times(100)),
    _case("learning rate times 100 (SGD, BatchNorm)", "stripes", rate_times(100)),
    _case("learning rate times 100 (Adam)", "clusters", rate_times(100)),
    _case("no warm-up at 8 times the rate", "surface", without_warmup(8)),
    _case("a schedule with a spike of 1000", "surface", schedule_with_a_spike),
    _case("momentum 0.999", "surface", heavy_momentum),
    _case("initial weights times 20", "clusters", initial_weights(20)),
    _case("initial weights zero", "clusters", initial_weights(0)),
    _case("one layer drawn times 1e4", "clusters", initial_weights(1e4, "2.weight")),
    _case("recurrent weights times 20", "recall", initial_weights(20, "gru.weight_hh_l0")),
    _case("an output layer drawn times 100 (SGD)", "surface", initial_weights(100, "4.weight")),
    _case("a loss summed, not averaged (SGD)", "surface", summed),
    _case("targets times 100 (SGD)", "surface", raw_targets),
    _case("fp16, one row in 400 beyond its range", "clusters", half_precision),
    _case("logarithm of a saturated sigmoid", "clusters", saturating_logarithm),
    _case("root of a distance that can be zero", "clusters", twins),
    _case("division by the spread of a constant", "clusters", standardised_by_batch),
    _case("one row in 200 is NaN", "clusters", some_rows_missing),
)
