"""What the guard tells its caller."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.records import ActionName, Signal

__all__ = ["StepOutcome"]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One call of `Guard.step`.

    Attributes:
        step: position in the schedule that the update had.
        loss: its loss; NaN where the step raised.
        grad_norm: its total L2 gradient norm before clipping; NaN where the step raised.
        applied: whether the update reached the weights (and stayed there).
        signals: what was found, furthest upstream first; empty when healthy.
        action: the recovery action taken, None when none was needed.
    """

    step: int
    loss: float
    grad_norm: float
    applied: bool
    signals: tuple[Signal, ...] = ()
    action: ActionName | None = None
