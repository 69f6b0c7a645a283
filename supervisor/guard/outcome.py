"""What the guard tells its caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from supervisor.records import ActionName, Signal

__all__ = ["StepOutcome", "Verdict"]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """One update, once it is over.

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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a loop of one's own does next.

    Attributes:
        apply: the optimizer is to step, inside `Guard.applying`, and then `Guard.after_step` is to be called.
        outcome: what the update came to; None while it is still to be applied.
        halt: the ladder has ended: the loop is to end too.
        reason: why it has; None where it has not.
        again: batches of a discarded update that are sound by themselves, for a loop that draws its own: with
            `accumulate`, they are to come again. Those that the guard has drawn come again by themselves.
        cause: the exception of the update for which the ladder has ended; None where it raised none.
    """

    apply: bool
    outcome: StepOutcome | None
    halt: bool = False
    reason: str | None = None
    again: tuple[Any, ...] = ()
    cause: Exception | None = field(default=None, compare=False)


PROCEED = Verdict(apply=True, outcome=None)
"""Nothing was found: let the optimizer step."""
