"""The event of a forecast, and its words; `schema` exports it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from pydantic import NonNegativeInt

from supervisor.events.base import EventBase, Number
from supervisor.headroom import Forecast, Quantity

__all__ = ["HeadroomEvent", "describe_headroom"]


class HeadroomEvent(EventBase):
    """A quantity passes its bound soon, if it goes on as it does. Said when that begins; nothing is done about it.

    Attributes:
        quantity: which.
        parameter: of which parameter; of several the one that is there first. For `gradient_norm` the one whose
            gradient is furthest above its second moment.
        value: what it is now.
        bound: what it must not pass.
        slope: by how much its logarithm grows an update: 0.01 is about 1 %.
        horizon: updates until it passes its bound, at this slope.
        others: how many further parameters began at the same check.
        bits: for `half_range`: how many more times it can double before its type holds it no longer; else None.
    """

    event: Literal["headroom"] = "headroom"
    quantity: Quantity
    parameter: str
    value: Number
    bound: Number
    slope: Number
    horizon: NonNegativeInt
    others: NonNegativeInt = 0
    bits: Number | None = None

    @classmethod
    def from_forecast(cls, forecast: Forecast, *, step: int, update: int) -> HeadroomEvent:
        """The event for a forecast."""
        return cls(step=step, update=update, **asdict(forecast))


_WORDS = {
    Quantity.WEIGHT_NORM: "the norm of {name}",
    Quantity.LARGEST_WEIGHT: "the largest number in {name}",
    Quantity.HALF_RANGE: "the largest number in {name}, of 16 bits,",
    Quantity.GRADIENT_NORM: "the gradient norm",
}


def describe_headroom(event: HeadroomEvent) -> str:
    """`the norm of head.weight grows by 0.9 % an update: from 4.1 past 12.3 in 120 updates, if it goes on`."""
    what = _WORDS[event.quantity].format(name=event.parameter)
    more = f", and {event.others} more" if event.others else ""
    most = f", most of it in {event.parameter}" if event.quantity is Quantity.GRADIENT_NORM else ""
    way = f"from {event.value:.3g} past {event.bound:.3g} in {event.horizon} updates, if it goes on"
    return f"{what} grows by {100 * event.slope:.2g} % an update{most}{more}: {way}"
