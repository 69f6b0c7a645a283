"""`Attempt`: one update, from the copy that is taken before its batch to its end."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from supervisor.records import Observation, Signal
from supervisor.training.state import VolatileState

__all__ = ["Attempt", "Phase", "Place", "Raised"]


class Phase(enum.Enum):
    """How far an update has come."""

    BEGUN = "begun"
    """What a forward pass can change is copied; nothing was measured."""
    PASSED = "passed"
    """Loss and gradients are sound: the optimizer may step."""
    STEPPING = "stepping"
    """The optimizer has begun to step, so that the update can no longer be discarded."""
    ENDED = "ended"
    """It stands, or it was discarded and answered, or it was given up."""


@dataclass(slots=True)
class Place:
    """Where an update stands in the run.

    Attributes:
        step: its position in the schedule, from 0.
        update: its number among all attempted updates, from 0.
        replayed: whether its batch comes again after a reload with `data: replay`.
    """

    step: int
    update: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that the user's code raised in a step.

    Attributes:
        type: its class name.
        message: its class name and the first line of its text.
        where: `file:line` of the innermost frame in the user's code, None where there is none.
        module: qualified name of the innermost module in whose code it was raised, None outside of every one.
        traceback: the whole of it.
    """

    type: str
    message: str
    where: str | None
    module: str | None
    traceback: str


@dataclass(slots=True, eq=False)
class Attempt:
    """All that belongs to one update. It is handed from part to part, and no part keeps any of it.

    Attributes:
        place: where it stands in the run.
        batches: its batches, more than one where they accumulate.
        before: the state before its batch, beside parameters and optimizer.
        started: when it began, by the monotonic clock, in seconds.
        drawn: whether the guard's own data gave these very batches, so that they can come again.
        phase: how far it has come.
        copied_batches: its batches as they were before the loss saw them, where they may become a canary.
        observation: what it measured; None until its backward pass is over.
        signals: what was found about that, furthest upstream first.
        raised: the exception that ended it, if one did.
        undone: whether it can be discarded; False once the optimizer has begun to step, when only a reload can undo it.
        scaler_before: the gradient scaler's `state_dict` before it backed off, None without a scaler.
        at_fault: positions of the accumulated batches that are bad by themselves.
        reusable: positions of those that may be used again.
    """

    place: Place
    batches: tuple[Any, ...]
    before: VolatileState
    started: float
    drawn: bool = False
    phase: Phase = Phase.BEGUN
    copied_batches: tuple[Any, ...] | None = None
    observation: Observation | None = None
    signals: tuple[Signal, ...] = ()
    raised: Raised | None = None
    undone: bool = True
    scaler_before: Any = None
    at_fault: tuple[int, ...] = ()
    reusable: tuple[int, ...] = ()

    @property
    def seen(self) -> Observation:
        """What it measured.

        Raises:
            RuntimeError: nothing was measured yet.
        """
        if self.observation is None:
            raise RuntimeError("the update was not measured yet")
        return self.observation
