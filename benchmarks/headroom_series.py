"""What the state check would measure in trainings that nobody guards, kept so that any detector can be shown it."""

from __future__ import annotations

import math
import pickle
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmarks.headroom_faults import BEGINS, Gradual
from benchmarks.healthy_workloads import WORKLOADS
from benchmarks.long_workloads import LONG_WORKLOADS
from benchmarks.method_workloads import METHODS
from supervisor.records import Observation
from supervisor.training.headroom import HeadroomReading
from supervisor.training.modules import parameter_names
from supervisor.training.norms import norms_in_order, on_host
from supervisor.training.optimizers import AnyOptimizer, chained

__all__ = ["CHOOSING", "REPORTED", "Series", "of_fault", "of_healthy"]

EVERY = 10
"""Updates between two checks of the state, as by default."""

BLOCK = 20
"""Updates whose median loss is looked at."""

_NAMES = (*WORKLOADS, *METHODS, *(f"{name} (long)" for name in LONG_WORKLOADS))

CHOOSING = _NAMES[0::2]
"""Names of the healthy workloads that settings are compared on."""

REPORTED = tuple(name for name in _NAMES[1::2] if name != "GAN, a guard each")
"""Names of those that are reported. A training with two guards is left out; another GAN is among them."""

ENDS = {"one cycle": 1200}
"""Workloads whose schedule ends, with its length."""


@dataclass(slots=True)
class Series:
    """One training.

    Attributes:
        losses: of every update, up to the one at which it failed.
        norms: likewise the gradient norms.
        checks: what each check measured.
        failed: whether it had lost half of what it had learnt, or met what is not finite.
    """

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    checks: list[Observation] = field(default_factory=list)
    failed: bool = False


def of_healthy(name: str, seed: int, steps: int, keep: Path | None) -> Series:
    """A healthy workload; what is in the folder `keep` already is not run again."""
    return _kept(
        keep, f"healthy {name} {seed} {steps}", lambda: _healthy(name, seed, min(steps, ENDS.get(name, steps)))
    )


def of_fault(fault: Gradual, seed: int, keep: Path | None) -> Series:
    """A training that goes wrong, up to where it has failed."""

    def run() -> Series:
        training = fault.build(seed)
        optimizer, scheduler = chained(training.optimizer), training.scheduler
        return _series(training.model, optimizer, scheduler, training.loss, training.batches(), training.steps, True)

    return _kept(keep, f"{fault.kind} {fault.workload} {fault.rate} {seed}", run)


def _healthy(name: str, seed: int, steps: int) -> Series:
    if name.endswith(" (long)"):
        long = LONG_WORKLOADS[name.removesuffix(" (long)")](seed)
        batches = _epochs(long.data(seed))
        return _series(long.model, chained(long.optimizers), long.scheduler, long.loss, batches, steps, False)
    work = {**WORKLOADS, **METHODS}[name](seed)
    return _series(work.model, chained(work.optimizer), work.scheduler, work.loss, work.batches, steps, False)


def _epochs(data: Any) -> Iterator[Any]:
    while True:
        yield from data


def _kept(folder: Path | None, name: str, make: Callable[[], Series]) -> Series:
    if folder is None:
        return make()
    path = folder / f"{name.replace('/', '-')}.pickle"
    if path.is_file():
        kept: Series = pickle.loads(path.read_bytes())
        return kept
    made = make()
    path.write_bytes(pickle.dumps(made))
    return made


def _series(
    model: nn.Module,
    optimizer: AnyOptimizer,
    scheduler: Any,
    loss_of: Callable[[Any], Tensor],
    batches: Iterator[Any],
    steps: int,
    may_fail: bool,
) -> Series:
    names = parameter_names(model, optimizer)
    reading, found = HeadroomReading(names, optimizer), Series()
    weights = [parameter for parameter in names if parameter.dim() >= 2]
    for number, batch in enumerate(islice(batches, steps)):
        for parameter in names:
            parameter.grad = None
        loss = loss_of(batch)
        loss.backward()
        gradients = [parameter.grad for parameter in names if parameter.grad is not None]
        found.losses.append(loss.item())
        found.norms.append(math.hypot(*on_host(norms_in_order(gradients))))
        if may_fail and _has_failed(found):
            found.failed = True
            break
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if (number + 1) % EVERY == 0:
            norms = zip(weights, on_host(norms_in_order(weights)), strict=True)
            by_name = {names[weight]: norm for weight, norm in norms if math.isfinite(norm)}
            seen = Observation(number, number, found.losses[-1], found.norms[-1], weight_norms=by_name)
            seen.headroom = reading.made_of(on_host(reading.parts()))
            found.checks.append(seen)
    return found


def _has_failed(found: Series) -> bool:
    """Whether half of what was learnt is lost: by the median of the last losses, of the first and of the best ones."""
    losses = found.losses
    if not (math.isfinite(losses[-1]) and math.isfinite(found.norms[-1])):
        return True
    if len(losses) <= BEGINS:
        return False
    first, best = statistics.median(losses[:BLOCK]), statistics.median(losses[BEGINS - BLOCK : BEGINS])
    return statistics.median(losses[-BLOCK:]) > best + (first - best) / 2
