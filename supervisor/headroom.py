"""What the state check measures to tell how far a run is from its limits, and what is forecast from it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Forecast", "Headroom", "Quantity"]


class Quantity(enum.StrEnum):
    """What can run into a bound."""

    WEIGHT_NORM = "weight_norm"
    """The L2 norm of a weight with two or more dimensions."""
    LARGEST_WEIGHT = "largest_weight"
    """The largest magnitude in a parameter."""
    HALF_RANGE = "half_range"
    """The same, of a parameter kept or computed in a type of 16 bits: its bound is the type's largest number."""
    GRADIENT_NORM = "gradient_norm"
    """The norm of the gradients, whose growth the second moments of Adam tell."""


@dataclass(frozen=True, slots=True)
class Headroom:
    """What one state check measured, beside `Observation.weight_norms`. Only finite numbers are in it.

    Attributes:
        largest: the largest magnitude in each floating-point parameter, by name.
        limits: the largest number of the 16-bit type that a parameter is kept or computed in, for those that are.
        energy: squared norm of the gradients over the sum of the second moments, as the optimizer corrects them for
            their start, over all parameters that have both. About 1 where gradients stay as large as they were. None
            where the optimizer keeps no second moments as Adam does, and where the gradients are gone.
        energy_at: the parameter with the largest excess of the one over the other.
        memory_updates: over how many updates the second moments average, 1 / (1 - beta2); likewise None.
    """

    largest: Mapping[str, float]
    limits: Mapping[str, float]
    energy: float | None = None
    energy_at: str | None = None
    memory_updates: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """A quantity that passes its bound soon, if it goes on as it does.

    Attributes:
        quantity: which.
        parameter: of which parameter; of several the one that is there first.
        value: what it is now.
        bound: what it must not pass.
        slope: by how much its logarithm grows an update.
        horizon: updates until it passes its bound, at this slope.
        others: how many further parameters of this check would pass the same quantity's bound within the horizon.
        bits: for `half_range`: how many more times it can double.
    """

    quantity: Quantity
    parameter: str
    value: float
    bound: float
    slope: float
    horizon: int
    others: int = 0
    bits: float | None = None
