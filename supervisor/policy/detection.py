"""What is looked for beside numbers that are not finite."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from supervisor.config.section import Section, Steps, conflict
from supervisor.policy.headroom import HeadroomWatch

__all__ = ["Detection", "DriftDetection", "SpikeDetection", "WeightWatch"]


class SpikeDetection(Section):
    """Robust z-score (median and MAD around a line) of the logarithm of the loss and of the gradient norm."""

    window_updates: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 128
    """How many healthy updates the score is measured against."""
    threshold: Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)] = 3.5
    """A score above this can be a spike. Lower: more sensitive, more false alarms."""
    margin: Annotated[float, Field(strict=True, ge=1, le=1e6, allow_inf_nan=False)] = 2.5
    """A spike is also more than this many times the largest healthy value of late (twice that for a gradient norm)."""
    warmup_updates: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 32
    """Healthy updates to see before the first verdict."""

    @model_validator(mode="after")
    def _warmup_fits_into_the_window(self) -> Self:
        if self.warmup_updates > self.window_updates:
            what = f"a warm-up of {self.warmup_updates} never ends in a window of {self.window_updates}"
            fix = f"write at most `warmup_updates: {self.window_updates}`, or a longer `window_updates`"
            raise conflict(what, fix, "warmup_updates", "window_updates")
        return self


class DriftDetection(Section):
    """Climb of the loss over blocks of updates, each block by its median."""

    block_updates: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 24
    """Healthy updates in a block."""
    rises: Annotated[int, Field(strict=True, ge=2, le=1000)] = 4
    """How many blocks in a row must each lie above the one before."""
    factor: Annotated[float, Field(strict=True, gt=1, le=1e6, allow_inf_nan=False)] = 2.0
    """How many times the first median the last one must be."""
    threshold: Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)] = 2.0
    """How many robust deviations of the first block the last median must lie above the first."""


class WeightWatch(Section):
    """Fall of the norm of a weight with two or more dimensions, looked at when the state is checked."""

    fall: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)] = 0.35
    """A weight that loses more than this share of its norm, and far more than it lost before, is damaged."""
    window_updates: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 20
    """Within how many updates."""
    warmup_updates: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 60
    """Steps after the first check in which nothing is judged: a small layer may shrink by half as training settles."""


class Detection(Section):
    """What is looked for beside non-finite losses and gradients, which are checked at every step."""

    state_every_steps: Steps = 10
    """How often parameters, buffers and optimizer state are checked; also on every flagged step and before
    any state becomes good."""
    spike: SpikeDetection | None = SpikeDetection()
    """Spikes of the loss and of the gradient norm; null: off."""
    drift: DriftDetection | None = DriftDetection()
    """Slow climbs of the loss; null: off."""
    weights: WeightWatch | None = WeightWatch()
    """Weights that shrink too fast; null: off."""
    headroom: HeadroomWatch | None = HeadroomWatch()
    """Forecasts of weights and gradients that pass a bound soon; null: off."""
