"""Whether a forecast came true, and whether it came before the run had failed."""

from __future__ import annotations

import enum
import math
import statistics
from dataclasses import dataclass

from benchmarks.headroom_faults import BEGINS
from benchmarks.headroom_series import BLOCK, Series
from supervisor.headroom import Forecast, Quantity
from supervisor.policy import HeadroomWatch
from supervisor.signals.headroom import HeadroomDetector

__all__ = ["FaultResult", "Told", "Truth", "forecasts", "of_fault", "truth"]

EARLIEST, LATEST = 0.5, 2.0
"""A bound that is passed between these shares of the horizon was forecast rightly."""

TOLERANCE = 20
"""Updates, whatever the horizon: two checks."""


class Truth(enum.StrEnum):
    """What became of a forecast."""

    RIGHT = "right"
    SOONER = "sooner"
    """Its bound was passed, in less than half of the horizon."""
    LATER = "later"
    """It was passed, after more than twice the horizon."""
    NEVER = "never"
    """It was not passed, and the run went on for more than twice the horizon."""
    OPEN = "open"
    """The run ended or failed before that could be said."""


@dataclass(frozen=True, slots=True)
class Told:
    """A forecast of a run, the update that it was made after, and what became of it."""

    update: int
    forecast: Forecast
    truth: Truth


@dataclass(frozen=True, slots=True)
class FaultResult:
    """One run with a gradual fault.

    Attributes:
        failed_at: the update at which it had failed, None where it did not.
        before: forecasts from before the fault began.
        told: those from then on.
    """

    failed_at: int | None
    before: tuple[Told, ...]
    told: tuple[Told, ...]

    @property
    def ahead(self) -> int | None:
        """How many updates before it failed it was told of; None where it was not, or did not fail."""
        return None if self.failed_at is None or not self.told else self.failed_at - self.told[0].update


def forecasts(series: Series, watch: HeadroomWatch) -> tuple[Told, ...]:
    """What is told of a run under these settings."""
    detector = HeadroomDetector(watch)
    found = [(check.update, each) for check in series.checks for each in detector.accept(check)]
    return tuple(Told(update, each, truth(series, update, each)) for update, each in found)


def of_fault(series: Series, watch: HeadroomWatch) -> FaultResult:
    """The same of a run with a fault."""
    told = forecasts(series, watch)
    before = tuple(each for each in told if each.update < BEGINS)
    return FaultResult(len(series.losses) - 1 if series.failed else None, before, told[len(before) :])


def truth(series: Series, update: int, forecast: Forecast) -> Truth:
    """What became of a forecast that was made after `update`."""
    horizon = forecast.horizon
    passed = _passed(series, update, forecast)
    if passed is not None:
        if passed - update < EARLIEST * horizon - TOLERANCE:
            return Truth.SOONER
        return Truth.RIGHT if passed - update <= LATEST * horizon + TOLERANCE else Truth.LATER
    return Truth.NEVER if len(series.losses) - update > LATEST * horizon + TOLERANCE else Truth.OPEN


def _passed(series: Series, update: int, forecast: Forecast) -> int | None:
    """The update at which the quantity was first seen beyond its bound."""
    if forecast.quantity is Quantity.GRADIENT_NORM:
        norms, factor = series.norms, forecast.bound / forecast.value
        bound = factor * statistics.median(norms[update + 1 - BLOCK : update + 1])
        ends = range(update + 1, len(norms) + 1)
        return next((end for end in ends if not statistics.median(norms[end - BLOCK : end]) < bound), None)
    for check in series.checks:
        if check.update < update or check.headroom is None or check.weight_norms is None:
            continue
        held = check.weight_norms if forecast.quantity is Quantity.WEIGHT_NORM else check.headroom.largest
        # What is not finite is not in it.
        if held.get(forecast.parameter, math.inf) >= forecast.bound:
            return check.update
    return None
