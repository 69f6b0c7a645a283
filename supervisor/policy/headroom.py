"""What is forecast of weights and gradients that grow, and what is done about a forecast."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from supervisor.config.section import Section

__all__ = ["ComputedIn", "HeadroomAnswer", "HeadroomWatch"]


class HeadroomAnswer(enum.StrEnum):
    """What a forecast leads to."""

    OBSERVE = "observe"
    """A `headroom` event, and nothing else: a forecast says nothing against the update that it is made at."""


class ComputedIn(enum.StrEnum):
    """The type that parameters of 32 bits are computed in."""

    AUTO = "auto"
    """float16 where there is a gradient scaler; else their own."""
    FLOAT16 = "float16"
    """`torch.autocast` with `torch.float16`."""
    BFLOAT16 = "bfloat16"
    """`torch.autocast` with `torch.bfloat16`."""
    FLOAT32 = "float32"
    """Their own: no autocast."""


class HeadroomWatch(Section):
    """Forecasts of when a weight or the gradients pass a bound, from what the check of the state measures. No update
    is judged by them."""

    horizon_updates: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 300
    """A bound that would be passed within so many updates is told of. Longer: earlier warnings, more of them false."""
    factor: Annotated[float, Field(strict=True, gt=1, le=1e9, allow_inf_nan=False)] = 10.0
    """The bound of a norm, and of the largest magnitude in a parameter: so many times what it was when the window
    began. Of the gradient norm: so many times what it is."""
    window_updates: Annotated[int, Field(strict=True, ge=8, le=1_000_000)] = 80
    """Over how many updates the growth is measured, and has to be steady."""
    warmup_updates: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 400
    """Steps after the first check in which nothing is forecast: weights grow fast at the start of a training."""
    repeat_after_updates: Annotated[int, Field(strict=True, ge=0, le=100_000_000)] = 2000
    """A growth that ended and began again is told of again after so many updates at the earliest."""
    computed_in: ComputedIn = ComputedIn.AUTO
    """The type that parameters of 32 bits are computed in: its largest number is the bound of their magnitude."""
    then: HeadroomAnswer = HeadroomAnswer.OBSERVE
    """`observe`: log only."""
